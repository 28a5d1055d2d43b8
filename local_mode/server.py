"""The one HTTP port: which service a request is for, and what every reply has in common."""

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from jobs.validation import RequestError, validate
from jobs.validation import service_model as sagemaker_model
from local_mode import logs_api, moto_services, protocol, support
from local_mode.collect import Freed, Limits
from local_mode.errors import ServiceError, disk_is_full
from local_mode.http import ClientGoneError, Listener, Request, Response
from local_mode.protocol import JsonApi
from local_mode.s3 import app as s3
from local_mode.s3.call import is_local_name
from local_mode.service import Service
from local_mode.training_jobs import operations as training_jobs
from local_mode.training_jobs import search, tags

if TYPE_CHECKING:
    from botocore.model import OperationModel

access = logging.getLogger("local_mode.access")
logger = logging.getLogger(__name__)

HEALTH_PATH = "/_drydock/health"
COLLECT_PATH = "/_drydock/gc"
# A page in a browser cannot send this header to another origin without being allowed to.
_MAX_LIMITS_BYTES = 4096
OWN_HEADER = "X-Drydock"


def _validate_sagemaker(operation: "OperationModel", values: dict[str, Any]) -> None:
    try:
        validate(operation.name, values, allow_file_uris=True)
    except RequestError as error:
        raise ServiceError(error.code, str(error)) from None
    support.check(operation.name, values)


def _validate_logs(operation: "OperationModel", values: dict[str, Any]) -> None:
    protocol.validate_by_botocore(operation, values)
    logs_api.check_members(operation.name, values)


SAGEMAKER: JsonApi[Service] = JsonApi(
    name="SageMaker",
    model=sagemaker_model,
    operations={**training_jobs.OPERATIONS, **search.OPERATIONS, **tags.OPERATIONS},
    validate=_validate_sagemaker,
)
LOGS: JsonApi[Service] = JsonApi(
    name="CloudWatch Logs",
    model=lambda: protocol.service_model("logs"),
    operations=logs_api.OPERATIONS,
    validate=_validate_logs,
)

# A prefix of X-Amz-Target, and the service that it means whoever signed the request.
_TARGETS: Mapping[str, str] = {"SageMaker": "sagemaker", "Logs_20140328": "logs"}


def service_of(request: Request) -> str:
    """The service's signing name: from the target, else the signature; S3 where nothing says."""
    target = request.header("X-Amz-Target").partition(".")[0]
    if target in _TARGETS:
        return _TARGETS[target]
    authorization = request.header("Authorization")
    scope = authorization.partition("Credential=")[2].partition(",")[0] or (
        request.parameter("X-Amz-Credential") or ""
    )
    parts = scope.strip().split("/")
    if len(parts) >= 4 and parts[-1] == "aws4_request":
        return parts[-2].lower()
    if target:
        return target.lower()
    # Unsigned calls that exist: AssumeRoleWithWebIdentity, and S3 of public buckets.
    return "sts" if _is_form(request) and request.path == "/" else "s3"


class Server:
    """Answers requests for one Service, on one listener and those that `listen_also` adds.

    Raises OSError where the address is taken.
    """

    def __init__(self, address: str, port: int) -> None:
        self._service: Service | None = None
        self._serving = threading.Event()
        self._lock = threading.Lock()
        self._collect: Callable[[Limits], Freed] | None = None
        # It queues connections from here on, and answers them from `serve` on.
        self._listener = Listener(address, port, self._answer, logger.info)
        self._others: dict[tuple[str, int], Listener] = {}

    @property
    def port(self) -> int:
        return self._listener.port

    def serve(self, service: Service, collect: Callable[[Limits], Freed]) -> None:
        """Starts answering, in threads; `collect` is what `gc` runs."""
        self._service, self._collect = service, collect
        self._serving.set()
        _start(self._listener)

    def listen_also(self, address: str, port: int | None = None) -> int:
        """A further IP address, on `port` (None: the first one's) where that is free; returns the port.

        Raises OSError.
        """
        with self._lock:
            key = (address, port or self.port)
            if key in self._others:
                return self._others[key].port
            try:
                listener = Listener(address, port or self.port, self._answer, logger.info)
            except OSError:
                # The address may not exist, or only its port be taken: the second try tells.
                listener = Listener(address, 0, self._answer, logger.info)
            self._others[key] = listener
        _start(listener)
        return listener.port

    def stop_listening(self, address: str) -> None:
        with self._lock:
            listeners = [self._others.pop(key) for key in list(self._others) if key[0] == address]
        for listener in listeners:
            _stop(listener)

    def close(self) -> None:
        """Ends all listeners; a reply that is being written is not waited for."""
        with self._lock:
            others = {address for address, _port in self._others}
        for address in others:
            self.stop_listening(address)
        if self._service is None:
            self._listener.server_close()
        else:
            _stop(self._listener)

    def _answer(self, request: Request) -> Response:
        self._serving.wait()  # a job that is taken over may ask before all is ready
        start = time.perf_counter()
        service = service_of(request)
        name = request.header("X-Amz-Target").rpartition(".")[2] or "-"
        outcome = "ok"
        try:
            _check_origin(request)
            name, response = self._route(service, request)
        except ServiceError as error:
            outcome = error.code
            response = _error_response(service, error, request)
        except ClientGoneError as error:
            access.info("%s %s gone: %s", service, request.path, error)
            raise
        except Exception as error:
            logger.exception("request %s (%s %s) failed", request.id, request.method, request.path)
            failure = self._failure(error, request)
            outcome = failure.code
            response = _error_response(service, failure, request)
        milliseconds = (time.perf_counter() - start) * 1000
        access.info(
            "%s %s %s %s %s %d %s %.1fms %s",
            *(request.client, service, name, request.method, request.path),
            *(response.status, outcome, milliseconds, request.id),
        )
        headers = {"x-amzn-RequestId": request.id, "Server": "drydock"}
        if service == "s3":
            headers |= {"x-amz-request-id": request.id, "x-amz-id-2": request.id}
        return replace(response, headers={**headers, **response.headers})

    def _failure(self, error: Exception, request: Request) -> ServiceError:
        assert self._service is not None
        if disk_is_full(error):
            return ServiceError(
                "InsufficientStorage",
                f"The disk of the local SageMaker is full ({self._service.home.root}): nothing was changed. "
                "Free some space, for example by `python -m local_mode gc --older-than 7d`.",
                status=507,  # no client tries that again by itself
            )
        return ServiceError(
            "InternalFailure",
            f"The local SageMaker failed; its service.log has the reason under request {request.id}.",
            status=500,
        )

    def _route(self, name: str, request: Request) -> tuple[str, Response]:
        """The operation's name for the log, and the reply."""
        assert self._service is not None
        if request.path.startswith("/_drydock/"):
            return request.path, self._own(request)
        match name:
            case "sagemaker" if "X-Amz-Target" in request.headers:
                return SAGEMAKER.operation_name(request), SAGEMAKER.answer(self._service, request)
            case "sagemaker":
                raise ServiceError(
                    "UnknownOperationException",
                    f"{request.method} {request.path} of SageMaker is not emulated by the local SageMaker",
                )
            case "logs":
                return LOGS.operation_name(request), LOGS.answer(self._service, request)
            case "s3":
                return s3.answer(self._service, request)
            case _ if name in moto_services.SERVICES:
                return "moto", moto_services.answer(
                    request,
                    account=self._service.account,
                    minutes=self._service.jobs.store.metric_minutes,
                )
        served = ", ".join(sorted({"sagemaker", "logs", "s3", *moto_services.SERVICES}))
        raise ServiceError(
            "NotImplemented",
            f"The local SageMaker does not serve {name!r} (it serves {served}); "
            "give that client its real endpoint, or unset AWS_ENDPOINT_URL for it",
            status=501,
        )

    def _own(self, request: Request) -> Response:
        assert self._service is not None
        assert self._collect is not None
        if (request.method, request.path) == ("GET", HEALTH_PATH):
            return _json(self._service.health())
        if (request.method, request.path) == ("POST", COLLECT_PATH) and OWN_HEADER in request.headers:
            return _json(self._collect(_limits(request)).document())
        raise ServiceError("NotFound", f"There is no {request.method} {request.path}", status=404)


def _limits(request: Request) -> Limits:
    body = request.read_whole(limit=_MAX_LIMITS_BYTES)
    try:
        return Limits.from_document(json.loads(body or b"{}"))
    except (ValueError, TypeError) as error:
        raise ServiceError("BadRequest", f"These are no limits of gc: {error}") from None


def _check_origin(request: Request) -> None:
    """Refuses pages in a browser that are not this machine's own: they could run images here.

    Raises ServiceError AccessDenied.
    """
    host = request.header("Host", "localhost")
    origin = request.header("Origin")
    if not is_local_name(host):
        why = f"the host name {host!r} is not this machine's; use an IP address or localhost"
    elif origin and not is_local_name(origin.partition("://")[2]):
        why = f"requests from the page {origin!r} are refused"
    else:
        return
    raise ServiceError("AccessDenied", f"Access Denied: {why}", status=403)


def _error_response(service: str, error: ServiceError, request: Request) -> Response:
    """The error as the service's protocol has it."""
    if service == "s3" and not request.path.startswith("/_drydock/"):
        return s3.error_response(error, request)
    if service not in {"sagemaker", "logs"} and _is_form(request):
        kind = "Sender" if error.status < 500 else "Receiver"
        body = (
            f"<ErrorResponse><Error><Type>{kind}</Type><Code>{escape(error.code)}</Code>"
            f"<Message>{escape(error.message)}</Message></Error>"
            f"<RequestId>{request.id}</RequestId></ErrorResponse>"
        )
        return Response(status=error.status, headers={"Content-Type": "text/xml"}, body=body.encode())
    return protocol.error_response(error)


def _is_form(request: Request) -> bool:
    return request.header("Content-Type").startswith("application/x-www-form-urlencoded")


def _json(document: Mapping[str, Any]) -> Response:
    body = json.dumps(document).encode() + b"\n"
    return Response(status=200, headers={"Content-Type": "application/json"}, body=body)


def _start(listener: Listener) -> None:
    threading.Thread(
        target=listener.serve_forever,
        name=f"listen-{listener.port}",
        daemon=True,
    ).start()


def _stop(listener: Listener) -> None:
    # Wakes the loop, which else looks up every `poll_interval` only.
    with contextlib.suppress(OSError):
        listener.socket.shutdown(socket.SHUT_RDWR)
    listener.shutdown()
    listener.server_close()
