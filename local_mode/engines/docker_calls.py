"""Calls to the Docker daemon: what they raise, and how a removal is done."""

import contextlib
import http
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker.errors
import requests.exceptions

from local_mode.engines.base import HostError

DOCKER_ERRORS = (docker.errors.DockerException, requests.exceptions.RequestException)
_REMOVAL_SECONDS = 15
_POLL_SECONDS = 0.05


@contextlib.contextmanager
def docker_errors(what: str) -> Iterator[None]:
    try:
        yield
    except DOCKER_ERRORS as error:
        raise HostError(f"InternalServerError: Docker: {what}: {one_line(error)}") from error


def quietly(remove: Callable[..., Any], **options: Any) -> None:
    """Removes what may be going already.

    Someone else's `docker rm` holds a container, its volume and its network until it is through: a conflict
    is waited out.
    """
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while True:
        try:
            remove(**options)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            conflict = error.status_code in {http.HTTPStatus.CONFLICT, http.HTTPStatus.FORBIDDEN}
            if not conflict or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return


def one_line(error: Exception) -> str:
    text = getattr(error, "explanation", None) or str(error)
    return " ".join(str(text).split()).rstrip(".")
