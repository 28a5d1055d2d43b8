"""References of images: `ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG`, `NAME:TAG`, `NAME@sha256:...`."""

import re

_ECR = re.compile(r"\d{12}\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.(?:amazonaws\.com|on\.aws)(?:\.cn)?/(?P<rest>.+)")


def local_names(reference: str) -> tuple[str, ...]:
    """The names under which an image may be on this machine, the likeliest first.

    What `build_and_push.sh` builds is called NAME:TAG here and carries ECR's address only when pushed.
    """
    match = _ECR.fullmatch(reference)
    return (match["rest"], reference) if match else (reference,)


def repository_name(reference: str) -> str:
    """The last part of the repository: `drydock-train` of `1234.../team/drydock-train:2f3a@sha256:...`."""
    name = reference.partition("@")[0].rpartition("/")[2]
    return name.partition(":")[0]
