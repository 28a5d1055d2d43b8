"""Send API requests to SageMaker, here or at AWS, and follow the job.

exit codes:
  0  the job is Completed (--dry-run, --no-wait: the request is good, was sent)
  1  the job is Failed; its FailureReason is on stderr
  2  nothing was sent: the file, the data, the request or the service is not right
  3  the job is Stopped: by Ctrl-C, StopTrainingJob or MaxRuntimeInSeconds
  4  the job was sent, but is out of sight or its results could not be fetched
  5  detached by a second Ctrl-C: the job runs on
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs import run
from jobs.channels import ChannelChange
from jobs.client import list_folders
from jobs.document import Change, as_json, as_yaml
from jobs.errors import EXIT_DETACHED, EXIT_NOT_SENT, JobError
from jobs.follow import DetachedError
from jobs.interruptions import Interruptions
from jobs.order import Order
from jobs.service import DEFAULT_PORT
from jobs.target import Place, Target, place, reached
from jobs.variables import Variables, new_job_id

_DOWNLOADS = Path("build/jobs")


def _parser() -> argparse.ArgumentParser:
    what, _, exit_codes = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m jobs",
        description=what,
        epilog=exit_codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--local", action="store_true", help="the local SageMaker instead of AWS")
    where.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help=f"of the local SageMaker (default {DEFAULT_PORT}; 0: a free one)",
    )
    where.add_argument(
        "--engine", choices=("auto", "docker", "process"), default="auto", help="where its jobs run"
    )
    where.add_argument("--home", type=Path, help="its folder (default: DRYDOCK_HOME, else .drydock)")
    results = where.add_mutually_exclusive_group()
    results.add_argument(
        "--download",
        type=Path,
        default=_DOWNLOADS,
        metavar="DIR",
        help=f"results go to DIR/JOB (default {_DOWNLOADS})",
    )
    results.add_argument(
        "--no-download", action="store_const", const=None, dest="download", help="leave them there"
    )

    sending = commands.add_parser("run", parents=[where], help="send the requests of a file, follow the job")
    sending.add_argument("file", type=Path, help="YAML: one request, or several with --- between them")
    sending.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="e.g. HyperParameters.lr=0.01 (repeatable)",
    )
    sending.add_argument(
        "--channel",
        action="append",
        default=[],
        metavar="NAME=PLACE",
        help="another channel: a folder or s3:// address",
    )
    sending.add_argument("--dry-run", action="store_true", help="print the requests and send nothing")
    sending.add_argument("--json", action="store_true", help="with --dry-run: JSON instead of YAML")
    sending.add_argument("--no-wait", action="store_true", help="send, and do not follow")

    following = commands.add_parser(
        "follow", parents=[where], help="follow a training job that was sent before"
    )
    following.add_argument("job", help="TrainingJobName")
    return parser


def _run(given: argparse.Namespace, where: Place) -> int:
    order = Order(
        file=given.file,
        changes=[Change.from_string(text) for text in given.set],
        channels=[ChannelChange.from_string(text) for text in given.channel],
        variables=Variables(environment=os.environ, job_id=new_job_id(), local=not where.is_aws),
    )
    if given.dry_run:
        requests = order.requests(lambda address: list_folders(where.clients().s3, address))
        print((as_json if given.json else as_yaml)(requests), end="")
        if order.source is not None:
            print(f"note: {order.source.folder} is not at {order.source.address} yet", file=sys.stderr)
        return 0
    # What is wrong and can be seen without a service is said before one is started.
    early = None if order.lists_s3 else order.requests(lambda _: ())
    with reached(where) as target:
        requests = early or order.requests(lambda address: list_folders(target.clients.s3, address))
        if not given.no_wait:
            run.refuse_unfollowed(requests)
        if not target.is_aws:
            target.ensure_bucket(order.variables("BUCKET"))
        if order.source is not None:
            run.upload(target.clients, order.source)
        with Interruptions.caught() as interruptions:
            job_name = run.send(target.clients, requests)
            if job_name is None:
                print("== Sent.")
                return 0
            if given.no_wait:
                print(f"== Sent: {job_name}")
                _leave_running(target, job_name)
                return 0
            return _follow(target, job_name, given.download, interruptions)


def _follow(target: Target, job_name: str, download: Path | None, interruptions: Interruptions) -> int:
    service = target.service
    at = f" at {service.endpoint}, engine {service.engine}" if service else ""
    print(f"== Following {job_name}{at}", flush=True)
    try:
        ending = run.follow_to_end(target, job_name, interruptions=interruptions, download_to=download)
    except DetachedError:
        print(f"== Detached: {job_name} runs on.")
        _leave_running(target, job_name)
        return EXIT_DETACHED
    print(f"\n{ending.text}", flush=True)
    if ending.error:
        print(f"error: {ending.error}", file=sys.stderr)
    return ending.exit_code


def _leave_running(target: Target, job_name: str) -> None:
    """See to it that the job can run on, and say how to come back to it."""
    where = ""
    if target.service is not None:
        target.service.keep = True
        where = f" --local --port {target.service.endpoint.rpartition(':')[2]}"
        if target.service.started:
            print(f"== The local SageMaker stays up for it; to stop it: {target.service.how_to_stop}")
    print(f"== To follow it: python -m jobs follow {job_name}{where}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; the process's exit code."""
    given = _parser().parse_args(arguments)
    try:
        where = place(local=given.local, port=given.port, engine=given.engine, home=given.home)
        if given.command == "run":
            return _run(given, where)
        with reached(where) as target, Interruptions.caught() as interruptions:
            return _follow(target, given.job, given.download, interruptions)
    except JobError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: interrupted before anything was sent", file=sys.stderr)
        return EXIT_NOT_SENT


if __name__ == "__main__":
    # A service that we started must not outlive us because of how we are told to end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
