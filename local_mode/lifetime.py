"""The life of one service, from its start to its end."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from local_mode.home import Home
from local_mode.logs import LogStore
from local_mode.s3.store import ObjectStore
from local_mode.server import Server
from local_mode.service import ACCOUNT, REGION, Service
from local_mode.training_jobs.manager import TrainingJobs

ADDRESS = "127.0.0.1"
DEFAULT_MAX_JOBS = max(2, os.cpu_count() or 1)
_LOCK_SECONDS = 2.0  # `status` and `down` try the lock too, for a moment

logger = logging.getLogger(__name__)


class StartError(Exception):
    """The service cannot start here; the message is one line for the user."""


class _ServerListeners:
    """The server's further addresses, under the names that engines know them by."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def open(self, address: str, port: int | None = None) -> int:
        return self._server.listen_also(address, port)

    def close(self, address: str) -> None:
        self._server.stop_listening(address)


@contextmanager
def running(home: Home, *, port: int, engine: str, max_jobs: int = DEFAULT_MAX_JOBS) -> Iterator[Service]:
    """A service that answers, until the block ends: then its jobs are stopped and it answers no more.

    Raises HomeError, HomeInUseError, EngineUnavailableError, ValueError for a bad setting, and StartError
    where the port is taken or the home is damaged.
    """
    home.create()
    with ExitStack() as stack:
        stack.enter_context(home.lock(wait=_LOCK_SECONDS))
        home.fill_reserve()
        server = _listen(port)
        stack.callback(server.close)
        endpoint = f"http://{ADDRESS}:{server.port}"
        try:
            objects = ObjectStore(home.s3)
        except sqlite3.DatabaseError as error:
            raise StartError(f"the index of {home.s3} cannot be read: {error}") from error
        stack.callback(objects.close)
        logs = LogStore(home.logs)
        listeners = _ServerListeners(server)
        jobs = TrainingJobs(
            home,
            objects,
            logs,
            engine_name=engine,
            endpoint=endpoint,
            region=REGION,
            account=ACCOUNT,
            listeners=listeners,
            max_jobs=max_jobs,
        )
        # The last in is the first out: while jobs end, their hosts can still reach the service.
        stack.callback(jobs.close)
        jobs.recover()
        service = Service(
            home=home, objects=objects, logs=logs, jobs=jobs, listeners=listeners, endpoint=endpoint
        )
        server.serve(service, service.collect)
        logger.info("serving %s from %s with the engine %s", endpoint, home.root, jobs.engine_name)
        yield service


def _listen(port: int) -> Server:
    try:
        return Server(ADDRESS, port)
    except OSError as error:
        raise StartError(
            f"cannot listen on {ADDRESS}:{port}: {error.strerror}; give another port with --port, "
            "or 0 for any that is free"
        ) from error
