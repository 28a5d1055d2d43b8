"""Services that clients of SageMaker touch besides it, answered by moto: in memory, gone with the process.

moto is imported with the first such request; it takes about a second.
"""

import functools
import io
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from local_mode import iam
from local_mode.errors import ServiceError
from local_mode.http import Request, Response
from local_mode.store import MetricMinute

# By the name in the credential scope of a signature; CloudWatch signs as `monitoring`.
SERVICES = ("ecr", "iam", "monitoring", "sts")
_MAX_REQUEST = 16 << 20  # bytes
_import_lock = threading.Lock()

_Start = Callable[..., Callable[[bytes], object]]
_Wsgi = Callable[[dict[str, Any], _Start], Iterable[bytes]]
Minutes = Callable[[], Sequence[MetricMinute]]


def answer(request: Request, *, account: str, minutes: Minutes) -> Response:
    """What moto replies; `minutes` gives the training jobs' metrics, for its CloudWatch.

    Raises ServiceError where the request is too long, or is for moto itself.
    """
    body = request.read_whole(limit=_MAX_REQUEST)
    if body is None:
        raise ServiceError("RequestEntityTooLarge", f"The request has over {_MAX_REQUEST} bytes", status=413)
    if request.path.startswith(("/moto-api", "/latest/")):
        raise ServiceError("AccessDenied", f"{request.path} is not served", status=403)
    simulated = iam.simulate(body, request.id)
    if simulated is not None:
        return Response(status=200, headers={"Content-Type": "text/xml"}, body=simulated)
    with _import_lock:
        application = _application(account, minutes)
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Any:
        started.append((status, headers))
        return None

    try:
        chunks = application(_environ(request, body), start_response)
    except NotImplementedError as error:
        raise ServiceError(
            "NotImplemented", f"The local SageMaker does not emulate this: {error}", status=501
        ) from None
    try:
        data = b"".join(chunks)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    status, headers = started[-1]
    # The listener's and the server's own to say.
    dropped = {"content-length", "connection", "date", "server", "x-amzn-requestid"}
    return Response(
        status=int(status.split()[0]),
        headers={name: value for name, value in headers if name.lower() not in dropped},
        body=data,
    )


@functools.lru_cache(maxsize=1)  # moto's state is one for a process
def _application(account: str, minutes: Minutes) -> _Wsgi:
    # Read when moto is imported: its ARNs and `GetCallerIdentity` then agree with ours.
    os.environ["MOTO_ACCOUNT_ID"] = account
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415  slow, and seldom wanted
        DomainDispatcherApplication,
        create_backend_app,
    )

    from local_mode import cloudwatch  # noqa: PLC0415  imports moto

    cloudwatch.install(account, minutes)
    application: _Wsgi = DomainDispatcherApplication(create_backend_app)
    return application


def _environ(request: Request, body: bytes) -> dict[str, Any]:
    """The request as WSGI has it (PEP 3333)."""
    host = request.header("Host", "127.0.0.1")
    environ: dict[str, Any] = {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query_string,
        "SERVER_NAME": host.partition(":")[0],
        "SERVER_PORT": host.rpartition(":")[2] if ":" in host else "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": request.client,
    }
    for name, value in request.headers.items():
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    environ["CONTENT_TYPE"] = request.header("Content-Type")
    environ["CONTENT_LENGTH"] = str(len(body))
    return environ
