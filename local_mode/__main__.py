"""`python -m local_mode up | down | status | gc`: the local SageMaker's command line."""

import argparse
import contextlib
import json
import logging
import logging.handlers
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from local_mode.home import Home, HomeError

DEFAULT_PORT = 4700
_DOWN_SECONDS = 30.0  # running jobs get 10 s to end, and their hosts some to go
_HEALTH_SECONDS = 10.0
_LOG_BYTES = 10 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    options = _parser().parse_args(arguments)
    home = Home.from_environment(options.home)
    try:
        return COMMANDS[options.command](home, options)
    except HomeError as error:
        return _fail(str(error))


def up(home: Home, options: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT."""
    stop = _StopSignals()
    home.create()
    _log_to(home.service_log)
    # Behind the parsing, so that `--help` and a wrong option answer at once.
    from local_mode.engines.base import EngineUnavailableError  # noqa: PLC0415
    from local_mode.service import DEFAULT_MAX_JOBS, StartError, running  # noqa: PLC0415

    try:
        limit = options.max_jobs or DEFAULT_MAX_JOBS
        with running(home, port=options.port, engine=options.engine, max_jobs=limit) as service:
            _await_health(service.endpoint)
            document = {"pid": os.getpid(), "endpoint": service.endpoint, "engine": service.jobs.engine_name}
            home.write_service_file(document)
            try:
                print(f"ready {service.endpoint} engine={service.jobs.engine_name}", flush=True)
                stop.wait()
            finally:
                home.service_file.unlink(missing_ok=True)
    except EngineUnavailableError as error:
        return _fail(f"engine {options.engine}: {error}")
    except (StartError, ValueError) as error:
        return _fail(str(error))
    return 0


def down(home: Home, _options: argparse.Namespace) -> int:
    """Ends the home's service and waits until it is gone."""
    found = home.running_service()
    if found is None:
        print(f"no service runs on {home.root}")
        return 0
    with contextlib.suppress(ProcessLookupError):  # gone since
        os.kill(found["pid"], signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_SECONDS
    while home.running_service() is not None:
        if time.monotonic() > deadline:
            return _fail(f"the service (process {found['pid']}) still runs after {_DOWN_SECONDS:.0f} s")
        time.sleep(0.05)
    print(f"stopped {found['endpoint']}")
    return 0


def status(home: Home, _options: argparse.Namespace) -> int:
    """Says what the service says of itself."""
    found = home.running_service()
    if found is None:
        print(f"no service runs on {home.root}")
        return 1
    try:
        health = _ask(f"{found['endpoint']}/_drydock/health")
    except (urllib.error.URLError, OSError) as error:
        return _fail(f"the service (process {found['pid']}) does not answer at {found['endpoint']}: {error}")
    jobs = health["training_jobs"]
    print(f"endpoint       {health['endpoint']}")
    print(f"engine         {health['engine']} ({health['engine_reason']})")
    print(f"home           {health['home']}")
    print(f"process        {found['pid']}")
    print(f"training jobs  {', '.join(f'{n} {name}' for name, n in sorted(jobs.items())) or 'none'}")
    return 0


def gc(home: Home, _options: argparse.Namespace) -> int:
    """Frees what no job and no object needs; with the service's help where one runs."""
    found = home.running_service()
    if found is None:
        home.create()
        with home.lock():
            freed = _collect_alone(home)
    else:
        try:
            freed = _ask(f"{found['endpoint']}/_drydock/gc", data=b"", headers={"X-Drydock": "gc"})
        except (urllib.error.URLError, OSError) as error:
            return _fail(f"the service does not answer at {found['endpoint']}: {error}")
    print(
        f"freed {freed['bytes'] / 1e6:.1f} MB, working files of {freed['job_folders']} ended jobs among them"
    )
    return 0


COMMANDS: Mapping[str, Callable[[Home, argparse.Namespace], int]] = {
    "up": up,
    "down": down,
    "status": status,
    "gc": gc,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local_mode", description="A SageMaker on this machine, behind AWS's own API."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.__doc__)
        sub.add_argument(
            "--home", metavar="DIR", help="where all is kept (default: $DRYDOCK_HOME, else .drydock)"
        )
        if name == "up":
            sub.add_argument(
                "--port", type=_port, default=DEFAULT_PORT, help="0 takes any that is free (default: 4700)"
            )
            sub.add_argument(
                "--engine",
                choices=("auto", "docker", "process"),
                default="auto",
                help="what runs a job's hosts; auto: docker where it answers, else process",
            )
            sub.add_argument(
                "--max-jobs",
                type=_positive,
                metavar="N",
                help="jobs that run at once, others wait (default: as many as processors, at least 2)",
            )
    return parser


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port (0 to 65535)")
    return int(text)


class _StopSignals:
    """SIGTERM and SIGINT as an event, from before the service starts until the process ends."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def wait(self) -> None:
        os.read(self._read, 1)

    def _note(self, _number: int, _frame: object) -> None:
        os.write(self._write, b".")


def _await_health(endpoint: str) -> None:
    """Returns once the service answered through its socket. Raises OSError."""
    _ask(f"{endpoint}/_drydock/health", timeout=_HEALTH_SECONDS)


def _ask(
    url: str,
    *,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> dict[str, Any]:
    request = urllib.request.Request(url, data=data, headers=dict(headers or {}))  # noqa: S310  ours
    # The user's proxy is not for this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=timeout) as reply:
        document: dict[str, Any] = json.load(reply)
    return document


def _collect_alone(home: Home) -> dict[str, Any]:
    """What the service does at its start and at `gc`; every job of a home without one has ended."""
    from local_mode.s3.store import ObjectStore  # noqa: PLC0415  not wanted by the other commands
    from local_mode.service import collect_working_files  # noqa: PLC0415

    store = ObjectStore(home.s3)  # opening it removes the blobs that no object names
    store.close()
    freed = collect_working_files(home, set)
    return freed | {"bytes": freed["bytes"] + store.swept}


def _log_to(path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=2, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("local_mode").setLevel(logging.INFO)


def _fail(message: str) -> int:
    print(f"local_mode: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
