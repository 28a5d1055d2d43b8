"""One training job from Starting to its end: a state machine in a thread of its own.

::

    Starting -> Downloading -> Training -> Uploading -> Completed | Failed
    any of them -> Stopping -> (Uploading, once it trained) -> Stopped | MaxRuntimeExceeded

Status messages are AWS's own (API reference, SecondaryStatusTransition; job logs).
"""

import contextlib
import itertools
import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drydock.contract import FAILURE_REASON_MAX_CHARACTERS
from local_mode.engines.base import Engine, Host, HostError, HostExit
from local_mode.engines.folders import remove_tree
from local_mode.errors import ServiceError, ValidationException
from local_mode.logs import LogStore
from local_mode.s3.store import ObjectStore
from local_mode.store import COMPLETED, FAILED, STOPPED, TrainingJob, TrainingJobStore
from local_mode.training_jobs import channels, debugger, tree
from local_mode.training_jobs.log import HostLog
from local_mode.training_jobs.outputs import MODEL_ARCHIVE, OUTPUT_ARCHIVE, Destination, write_tar_gz

HOST = "algo-1"
DEFAULT_MAX_RUNTIME_SECONDS = 86_400  # StoppingCondition's default
# A dead host's output ends at once; more than this is a fault of the engine.
_OUTPUT_GRACE_SECONDS = 30
_TEXT_LIMIT_BYTES = 64 * 1024  # of the failure file

STOPPING_MESSAGE = "Stopping the training job"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a job ends; by default as a failure of ours."""

    status: str
    secondary_status: str
    message: str
    failure_reason: str | None = None

    @classmethod
    def failed(cls, reason: str) -> "Ending":
        return cls(
            status=FAILED,
            secondary_status="Failed",
            message="Training job failed",
            failure_reason=reason[:FAILURE_REASON_MAX_CHARACTERS],
        )


_COMPLETED = Ending(status=COMPLETED, secondary_status="Completed", message="Training job completed")
_STOPPED = Ending(status=STOPPED, secondary_status="Stopped", message="Training job stopped")
_MAX_RUNTIME = Ending(
    status=STOPPED,
    secondary_status="MaxRuntimeExceeded",
    message="Training job runtime exceeded MaxRuntimeInSeconds provided",
)


class _EndedEarlyError(Exception):
    """The job was stopped, or its time is up, before its program ended."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.message)
        self.ending = ending


class TrainingJobRun:
    """Runs one job; `stop` may come from any thread at any time."""

    def __init__(
        self,
        job: TrainingJob,
        *,
        engine: Engine,
        store: TrainingJobStore,
        objects: ObjectStore,
        logs: LogStore,
        folder: Path,
        region: str,
        stop_grace_seconds: float,
    ) -> None:
        self._job = job
        self._engine = engine
        self._store = store
        self._objects = objects
        self._folder = folder
        self._region = region
        self._grace = stop_grace_seconds
        self._stop = threading.Event()
        self._wake = threading.Event()  # something to look at while the program runs
        self._deadline = float("inf")
        self._exit: HostExit | None = None
        self._fault: Exception | None = None  # of a helper thread
        self._log = HostLog(
            job_name=job.name,
            host=HOST,
            logs=logs,
            store=store,
            definitions=job.request["AlgorithmSpecification"].get("MetricDefinitions", ()),
        )

    def stop(self, *, grace_seconds: float | None = None) -> None:
        """Ends the job early: SIGTERM, then after the grace SIGKILL, then the upload."""
        if grace_seconds is not None:
            self._grace = min(self._grace, grace_seconds)
        self._stop.set()
        self._wake.set()

    def __call__(self) -> None:
        """The whole run; the job has ended when it returns, and nothing of it is left but its results."""
        try:
            with contextlib.ExitStack() as cleanup:
                cleanup.callback(self._clean, lambda: remove_tree(self._folder))
                self._folder.mkdir(parents=True, exist_ok=True)
                ending = self._train(cleanup)
        except _EndedEarlyError as early:
            ending = early.ending
        except (channels.DataError, HostError) as error:
            ending = Ending.failed(str(error))
        except Exception as error:
            logger.exception("training job %s", self._job.name)
            ending = Ending.failed(f"InternalServerError: {type(error).__name__}: {error}")
        if ending.failure_reason is not None:
            self._log.note(ending.failure_reason)
        self._store.end(
            self._job.name,
            status=ending.status,
            secondary_status=ending.secondary_status,
            message=ending.message,
            failure_reason=ending.failure_reason,
        )

    def _train(self, cleanup: contextlib.ExitStack) -> Ending:
        name, request = self._job.name, self._job.request
        declared = channels.channels_of(request)
        self._check()
        self._store.enter(name, "Starting", "Preparing the instances for training")
        spec = tree.host_spec(self._job, channels.folders(declared), host=HOST, region=self._region)
        host = self._engine.create(spec, self._check)
        cleanup.callback(self._clean, host.remove)
        for note in host.notes:
            self._log.note(note)

        condition = request.get("StoppingCondition", {})
        self._deadline = time.monotonic() + condition.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME_SECONDS)
        self._store.start(name)
        self._enter("Downloading", "Downloading input data")
        config = tree.config_files(self._job, declared, host=HOST)
        host.fill(itertools.chain(config, channels.files(declared, self._objects)), self._check)
        self._check()
        self._enter("Training", "Training image download completed. Training in progress.")
        exit_, early = self._run(host)
        return self._upload(host, exit_, early)

    def _run(self, host: Host) -> tuple[HostExit, Ending | None]:
        """Starts the program and sees it to its end; the second value tells who ended it early."""
        host.start()
        relay = self._thread(lambda: self._log.relay(host.output()))
        waiter = self._thread(lambda: self._await_exit(host))
        early: Ending | None = None
        kill_at = float("inf")
        while self._exit is None and self._fault is None:
            timeout = min(self._deadline if early is None else kill_at, time.monotonic() + 3600)
            self._wake.wait(max(0.0, timeout - time.monotonic()))
            self._wake.clear()
            if self._exit is not None:
                break
            if early is None:
                early = self._reason_to_stop()
                if early is not None:
                    self._announce_stop()
                    host.terminate()
                    kill_at = time.monotonic() + self._grace
            elif time.monotonic() >= kill_at:
                self._log.note(f"no end {self._grace:g} s after SIGTERM: SIGKILL")
                host.kill()
                kill_at = float("inf")
        if self._fault is not None:
            host.kill()
        waiter.join()
        relay.join(_OUTPUT_GRACE_SECONDS)
        if relay.is_alive():
            self._log.note("the output did not end with the program: its last lines may be missing here")
        if self._fault is not None:
            raise self._fault
        assert self._exit is not None
        return self._exit, early

    def _upload(self, host: Host, exit_: HostExit, early: Ending | None) -> Ending:
        # Read first: an upload may fail, and the program's own words say more.
        failed = None if early or exit_.code == 0 else Ending.failed(self._failure_reason(host, exit_))
        self._store.enter(self._job.name, "Uploading", "Uploading generated training model")
        destination = Destination.from_uri(self._job.request["OutputDataConfig"]["S3OutputPath"])
        for folder, file_name in ((tree.MODEL, MODEL_ARCHIVE), (tree.OUTPUT_DATA, OUTPUT_ARCHIVE)):
            uri = destination.artifact(self._job.name, file_name)
            packed = self._folder / file_name
            try:
                count, notes = write_tar_gz(host.entries(folder), packed, folder=folder)
                for note in notes:
                    self._log.note(note)
                if count:
                    destination.upload(packed, uri, self._objects)
            except (OSError, ServiceError) as error:
                return failed or Ending.failed(f"ClientError: Artifact upload failed: {uri}: {error}")
            finally:
                packed.unlink(missing_ok=True)
            if folder == tree.MODEL and not count:
                self._log.note("the program left nothing in /opt/ml/model: no model.tar.gz is uploaded")
        try:
            for note in debugger.upload(
                host, self._job.name, self._job.request, self._objects, scratch=self._folder
            ):
                self._log.note(note)
        except (OSError, ServiceError) as error:
            return failed or Ending.failed(f"ClientError: Artifact upload failed: {error}")
        if failed or early:
            return failed or early or _COMPLETED
        return _STOPPED if self._stop.is_set() else _COMPLETED

    def _failure_reason(self, host: Host, exit_: HostExit) -> str:
        """`AlgorithmError: TEXT, exit code: N`, TEXT shortened so that the whole has its place."""
        content = host.read(tree.FAILURE_FILE, _TEXT_LIMIT_BYTES)
        text = (content or b"").decode(errors="replace").strip() or self._what_ended_it(exit_)
        prefix, suffix = "AlgorithmError: ", f", exit code: {exit_.code}"
        return f"{prefix}{text[: FAILURE_REASON_MAX_CHARACTERS - len(prefix) - len(suffix)]}{suffix}"

    def _what_ended_it(self, exit_: HostExit) -> str:
        if exit_.out_of_memory:
            return "the container was killed: it ran out of memory"
        if exit_.code == 128 + signal.SIGKILL:
            return "the program was killed (SIGKILL): from outside, or because this machine ran out of memory"
        text = "the program wrote no /opt/ml/output/failure"
        with contextlib.suppress(ValueError):  # no signal's number
            text = f"the program was ended by {signal.Signals(exit_.code - 128).name}"
        return f"{text}; its last line: {self._log.last_line}" if self._log.last_line else text

    def _await_exit(self, host: Host) -> None:
        self._exit = host.wait()
        self._wake.set()

    def _thread(self, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001  the run's own thread raises it
                self._fault = error
                self._wake.set()

        thread = threading.Thread(target=guarded, name=f"{self._job.name}-host", daemon=True)
        thread.start()
        return thread

    def _reason_to_stop(self) -> Ending | None:
        if self._stop.is_set():
            return _STOPPED
        return _MAX_RUNTIME if time.monotonic() >= self._deadline else None

    def _check(self) -> None:
        """Between the pieces of what comes before the program."""
        if (ending := self._reason_to_stop()) is not None:
            self._announce_stop()
            raise _EndedEarlyError(ending)

    def _enter(self, status: str, message: str) -> None:
        """A status of a job that goes on; a stop that came meanwhile keeps its own."""
        self._check()
        self._store.enter(self._job.name, status, message)

    def _announce_stop(self) -> None:
        # StopTrainingJob has written it already; a job at the end of its time writes it here.
        with contextlib.suppress(ValidationException):
            self._store.request_stop(self._job.name, STOPPING_MESSAGE)

    def _clean(self, remove: Callable[[], None]) -> None:
        """What cannot be removed is told, and waits for the next start; it does not unmake a result."""
        try:
            remove()
        except (HostError, OSError) as error:
            logger.exception("training job %s left something behind", self._job.name)
            self._log.note(f"something was left behind on this machine: {error}")
