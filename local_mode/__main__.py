"""`python -m local_mode up | down | status | gc`: the local SageMaker's command line."""

import argparse
import contextlib
import json
import logging
import logging.handlers
import os
import re
import select
import signal
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from local_mode.errors import disk_is_full
from local_mode.home import Home, HomeError

DEFAULT_PORT = 4700
_DOWN_SECONDS = 30.0  # running jobs get 10 s to end, and their hosts some to go
_HOME_SECONDS = 1.0  # between two looks whether the home is still there
_COLLECT_SECONDS = 600.0
_HEALTH_SECONDS = 10.0
_AGES = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"": 1.0, "B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
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
    try:
        _log_to(home.service_log)
    except OSError as error:
        return _fail(f"cannot write {home.service_log}: {error.strerror}")
    # Behind the parsing, so that `--help` and a wrong option answer at once.
    from local_mode.engines.base import EngineUnavailableError  # noqa: PLC0415
    from local_mode.lifetime import DEFAULT_MAX_JOBS, StartError, running  # noqa: PLC0415

    try:
        limit = options.max_jobs or DEFAULT_MAX_JOBS
        with running(home, port=options.port, engine=options.engine, max_jobs=limit) as service:
            _await_health(service.endpoint)
            document = {"pid": os.getpid(), "endpoint": service.endpoint, "engine": service.jobs.engine_name}
            home.write_service_file(document)
            identity = home.identity()  # before anyone is told that it is ready, and may remove it
            try:
                print(f"ready {service.endpoint} engine={service.jobs.engine_name}", flush=True)
                while not stop.wait(_HOME_SECONDS):
                    if home.identity() != identity:
                        return _fail(f"the home {home.root} was removed or replaced: its service ends")
            finally:
                home.service_file.unlink(missing_ok=True)
    except EngineUnavailableError as error:
        return _fail(f"engine {options.engine}: {error}")
    except (StartError, ValueError) as error:
        return _fail(str(error))
    except (OSError, sqlite3.Error) as error:
        if not disk_is_full(error):
            raise
        return _fail(f"the disk of the home {home.root} is full; free some space, then start it again")
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


def gc(home: Home, options: argparse.Namespace) -> int:
    """Frees what no job and no object needs, and ended jobs by age and size; beside a service or alone."""
    limits = {"older_than": options.older_than, "keep_bytes": options.keep_bytes, "dry_run": options.dry_run}
    found = home.running_service()
    if found is None:
        home.create()
        with home.lock():
            freed = _collect_alone(home, limits)
    else:
        try:
            freed = _ask(
                f"{found['endpoint']}/_drydock/gc",
                data=json.dumps(limits).encode(),
                headers={"X-Drydock": "gc"},
                timeout=_COLLECT_SECONDS,
            )
        except (urllib.error.URLError, OSError) as error:
            return _fail(f"the service does not answer at {found['endpoint']}: {error}")
    would = "would be " if options.dry_run else ""
    for name in freed["jobs"]:
        print(f"{would}removed: {name}, its log, metrics, tags and artifacts")
    if freed["uploads"]:
        print(f"{would}removed: {freed['uploads']} multipart uploads that were never completed")
    print(
        f"{would}freed {freed['bytes'] / 1e6:.1f} MB: {len(freed['jobs'])} jobs, "
        f"working files of {freed['job_folders']} ended jobs"
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
        if name == "gc":
            sub.add_argument(
                "--older-than",
                type=_age,
                metavar="AGE",
                help="jobs that ended before that go, with all they left in the local S3: 7d, 12h, 30m, 45s",
            )
            sub.add_argument(
                "--keep-bytes",
                type=_bytes,
                metavar="SIZE",
                help="the oldest ended jobs go until the rest takes no more than that: 10GB, 500MB",
            )
            sub.add_argument("--dry-run", action="store_true", help="say it and remove nothing")
    return parser


def _age(text: str) -> float:
    return _quantity(text, _AGES, "an age like 7d, 12h, 30m or 45s")


def _bytes(text: str) -> int:
    return int(_quantity(text, _SIZES, "a size like 10GB, 500MB or 0"))


def _quantity(text: str, units: Mapping[str, float], what: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text)
    if match is None or match[2] not in units:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return float(match[1]) * units[match[2]]


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

    def wait(self, seconds: float) -> bool:
        """Whether a signal has come; waits so long for one."""
        return bool(select.select([self._read], [], [], seconds)[0])

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


def _collect_alone(home: Home, limits: Mapping[str, Any]) -> dict[str, Any]:
    """What the service does at `gc`; a job of a service that died has not ended, and stays."""
    from local_mode.collect import Collector, Limits  # noqa: PLC0415  not wanted by the other commands
    from local_mode.logs import LogStore  # noqa: PLC0415  the same
    from local_mode.s3.store import ObjectStore  # noqa: PLC0415  the same
    from local_mode.store import TrainingJobStore  # noqa: PLC0415  the same

    with contextlib.ExitStack() as stack:
        objects = ObjectStore(home.s3)  # opening it removes the blobs that no object names
        stack.callback(objects.close)
        store = TrainingJobStore(home.database)
        stack.callback(store.close)
        collector = Collector(home, objects=objects, logs=LogStore(home.logs), store=store)
        freed = collector.collect(Limits.from_document(limits)).document()
    return freed | {"bytes": freed["bytes"] + objects.swept}


def _log_to(path: Path) -> None:
    handler = _ServiceLog(path, maxBytes=_LOG_BYTES, backupCount=2, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("local_mode").setLevel(logging.INFO)


class _ServiceLog(logging.handlers.RotatingFileHandler):
    """On a full disk, or with its home gone, a line is lost without a word: the service goes on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the base's name
        error = sys.exc_info()[1]
        if not (disk_is_full(error) or isinstance(error, FileNotFoundError)):
            super().handleError(record)


def _fail(message: str) -> int:
    print(f"local_mode: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
