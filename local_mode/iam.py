"""IAM's SimulatePrincipalPolicy, which SDK 3 asks before it sends a job, and which moto does not know.

Nothing here asks for permission, so every action of everyone is allowed.
https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

import urllib.parse
from xml.sax.saxutils import escape

from local_mode.errors import ServiceError

_NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"


def simulate(body: bytes, request_id: str) -> bytes | None:
    """The reply to a SimulatePrincipalPolicy call; None where the body is another call.

    Raises ServiceError for a call that names no action or no principal.
    """
    form = urllib.parse.parse_qsl(body.decode(errors="replace"))
    fields = dict(form)
    if fields.get("Action") != "SimulatePrincipalPolicy":
        return None
    actions = [value for name, value in form if name.startswith("ActionNames.member.")]
    resources = [value for name, value in form if name.startswith("ResourceArns.member.")] or ["*"]
    if not actions or not fields.get("PolicySourceArn"):
        raise ServiceError("ValidationError", "SimulatePrincipalPolicy needs PolicySourceArn and ActionNames")
    results = "".join(
        f"<member><EvalActionName>{escape(action)}</EvalActionName>"
        f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
        "<EvalDecision>allowed</EvalDecision></member>"
        for action in actions
        for resource in resources
    )
    return (
        f'<SimulatePrincipalPolicyResponse xmlns="{_NAMESPACE}"><SimulatePrincipalPolicyResult>'
        f"<IsTruncated>false</IsTruncated><EvaluationResults>{results}</EvaluationResults>"
        f"</SimulatePrincipalPolicyResult><ResponseMetadata><RequestId>{request_id}</RequestId>"
        "</ResponseMetadata></SimulatePrincipalPolicyResponse>"
    ).encode()
