"""Where requests go: AWS, or a local SageMaker."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import botocore.exceptions

from jobs.client import (
    ENDPOINT_VARIABLE,
    Clients,
    aws_clients,
    ensure_bucket,
    is_loopback,
    local_clients,
    said,
)
from jobs.errors import JobError
from jobs.service import LocalService, local_service

_LOCAL_POLL_SECONDS = 0.3
_AWS_POLL_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the command line and the environment say about where requests go."""

    local: bool  # `--local`: find the local SageMaker, or start it
    port: int
    engine: str  # auto, docker, process
    home: Path | None
    endpoint: str | None  # AWS_ENDPOINT_URL, which counts without `--local` as for any AWS client

    @property
    def is_aws(self) -> bool:
        return not self.local and not is_loopback(self.endpoint)

    def clients(self) -> Clients:
        """Clients for a service that is up already. Raises `JobError`."""
        if self.is_aws:
            return aws_clients()
        return local_clients(f"http://127.0.0.1:{self.port}" if self.local else str(self.endpoint))


@dataclass(frozen=True, kw_only=True)
class Target:
    """A service that takes requests."""

    clients: Clients
    service: LocalService | None  # the local SageMaker that `--local` found or started
    is_aws: bool
    poll_seconds: float

    def ensure_bucket(self, bucket: str) -> None:
        """Make a bucket where there is none yet; only for a local service. Raises `JobError`."""
        try:
            ensure_bucket(self.clients.s3, bucket)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise JobError(f"cannot make the bucket {bucket}: {said(error)}") from error


def place(*, local: bool, port: int, engine: str, home: Path | None) -> Place:
    return Place(
        local=local, port=port, engine=engine, home=home, endpoint=os.environ.get(ENDPOINT_VARIABLE) or None
    )


@contextmanager
def reached(where: Place) -> Iterator[Target]:
    """The service at a place; with `local` one is started for the time of the block where none answers."""
    poll_seconds = _AWS_POLL_SECONDS if where.is_aws else _LOCAL_POLL_SECONDS
    if where.local:
        with local_service(port=where.port, engine=where.engine, home=where.home) as service:
            yield Target(
                clients=local_clients(service.endpoint),
                service=service,
                is_aws=False,
                poll_seconds=poll_seconds,
            )
    else:
        yield Target(clients=where.clients(), service=None, is_aws=where.is_aws, poll_seconds=poll_seconds)
