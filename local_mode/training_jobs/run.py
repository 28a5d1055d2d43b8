"""One training job from Starting to its end: a state machine in a thread of its own.

::

    Starting -> Downloading -> Training -> Uploading -> Completed | Failed
    any of them -> Stopping -> (Uploading, once it trained) -> Stopped | MaxRuntimeExceeded
    a failure of ours -> Restarting -> Starting, as often as the RetryStrategy says

A job whose service died goes on in the next one: where its program runs or has ended, from there, else
from the start.

Status messages are AWS's own (API reference, SecondaryStatusTransition; job logs).
"""

import contextlib
import itertools
import logging
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from drydock.contract import FAILURE_REASON_MAX_CHARACTERS
from local_mode.engines.base import Engine, Host, HostError, HostExit
from local_mode.engines.folders import remove_tree
from local_mode.errors import ValidationException, disk_is_full
from local_mode.logs import LogStore
from local_mode.s3.store import ObjectStore
from local_mode.store import STOPPING, TrainingJob, TrainingJobStore
from local_mode.training_jobs import channels, tree
from local_mode.training_jobs.endings import COMPLETION, LOST, MAX_RUNTIME, STOP, Ending
from local_mode.training_jobs.log import HostLog
from local_mode.training_jobs.record import RunRecord
from local_mode.training_jobs.slots import Ticket
from local_mode.training_jobs.uploads import UploadError, upload_results

HOST = "algo-1"
DEFAULT_MAX_RUNTIME_SECONDS = 86_400  # StoppingCondition's default
# A dead host's output ends at once; more than this is a fault of the engine.
_OUTPUT_GRACE_SECONDS = 30
_TEXT_LIMIT_BYTES = 64 * 1024  # of the failure file

# How long a program that has ended without a service may take to show it.
_TAKE_OVER_SECONDS = 1.0
_FULL_DISK_BYTES = 1 << 20  # free, where a program has failed
_FULL_DISK_SECONDS = 0.5  # between two looks for space

RESTARTING = "Restarting"
STOPPING_MESSAGE = "Stopping the training job"

logger = logging.getLogger(__name__)


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
        ticket: Ticket,
        record: RunRecord,
        host: Host | None = None,
        release_reserve: Callable[[], None],
    ) -> None:
        """`host`: the one that an earlier service left; `record`: what it wrote."""
        self._job = job
        self._ticket = ticket
        self._record = record
        self._found = host
        self._release_reserve = release_reserve
        self._closing = threading.Event()  # the service goes, whatever becomes of this job
        self._retry_limit: int = job.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
        self._retries = sum(transition.status == RESTARTING for transition in job.transitions)
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
            save=record.save_progress,
            stream=record.progress.stream if record.progress is not None else None,
        )

    def stop(self, *, grace_seconds: float | None = None) -> None:
        """Ends the job early: SIGTERM, then after the grace SIGKILL, then the upload."""
        if grace_seconds is not None:
            self._grace = min(self._grace, grace_seconds)
            self._closing.set()
        self._stop.set()
        self._wake.set()
        self._ticket.slots.look_again()

    @property
    def was_out_of_time(self) -> bool:
        """Whether a job that was Stopping in an earlier service was so by MaxRuntimeInSeconds."""
        self._set_deadline(self._job.started)
        stopping = next(each for each in self._job.transitions if each.status == "Stopping")
        age = (datetime.now(tz=UTC) - stopping.started).total_seconds()
        return time.monotonic() - age >= self._deadline

    def __call__(self) -> None:
        """The whole run; the job has ended when it returns, and nothing of it is left but its results."""
        try:
            self._set_deadline(self._job.started)
            ending = self._record.ending or self._outcome()
            if ending.failure_reason is not None:
                self._note(ending.failure_reason)
            self._end(ending)
        finally:
            self._ticket.leave()

    def _outcome(self) -> Ending:
        try:
            return self._attempts()
        except Exception as error:
            logger.exception("training job %s", self._job.name)
            return Ending.failed_by(error)

    def _attempts(self) -> Ending:
        ending = None
        if self._found is None and self._record.progress is not None:
            ending = LOST
        while ending is None or self._may_retry(ending):
            if ending is not None:
                self._restart(ending)
            self._ticket.wait(gives_up=self._stop.is_set, say=self._say_place)
            ending = self._attempt()
        return ending

    def _restart(self, ending: Ending) -> None:
        self._retries += 1
        attempt = f"attempt {self._retries} of {self._retry_limit}"
        self._note(f"{ending.failure_reason}: the job is run again, {attempt}")
        self._store.enter(self._job.name, RESTARTING, f"Restarting the training job, {attempt}")

    def _attempt(self) -> Ending:
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(self._clean, lambda: remove_tree(self._folder))
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                ending = self._train(cleanup)
            except _EndedEarlyError as early:
                ending = early.ending
            except (channels.DataError, HostError) as error:
                ending = Ending.failed(str(error))
            except Exception as error:
                logger.exception("training job %s", self._job.name)
                ending = Ending.failed_by(error)
            if not self._may_retry(ending):
                # Before the host goes: a later service could not tell how it had ended.
                with contextlib.suppress(OSError):  # a full disk; the ending has more to say than this
                    self._record.save_ending(ending)
        return ending

    def _may_retry(self, ending: Ending) -> bool:
        return ending.is_ours and self._retries < self._retry_limit and self._reason_to_stop() is None

    def _end(self, ending: Ending) -> None:
        """Writes the end down, on a full disk as soon as there is space for it."""
        while True:
            try:
                self._store.end(
                    self._job.name,
                    status=ending.status,
                    secondary_status=ending.secondary_status,
                    message=ending.message,
                    failure_reason=ending.failure_reason,
                )
            except sqlite3.OperationalError as error:
                if not disk_is_full(error):
                    raise
                logger.warning("no space to write the end of the training job %s", self._job.name)
                self._release_reserve()
                if self._closing.wait(_FULL_DISK_SECONDS):
                    return  # the next service writes it
            else:
                self._record.remove()
                return

    def _train(self, cleanup: contextlib.ExitStack) -> Ending:
        name, request = self._job.name, self._job.request
        if self._found is not None:
            host, self._found = self._found, None
            cleanup.callback(self._clean, host.remove)
            return self._go_on(host)
        declared = channels.channels_of(request)
        self._check()
        self._record.begin(engine=self._engine.name)
        self._store.enter(name, "Starting", "Preparing the instances for training")
        spec = tree.host_spec(self._job, channels.folders(declared), host=HOST, region=self._region)
        host = self._engine.create(spec, self._check)
        cleanup.callback(self._clean, host.remove)
        for note in host.notes:
            self._log.note(note)

        if self._deadline == float("inf"):  # one for all attempts
            self._store.start(name)
            self._set_deadline(datetime.now(tz=UTC))
        self._enter("Downloading", "Downloading input data")
        config = tree.config_files(self._job, declared, host=HOST)
        host.fill(itertools.chain(config, channels.files(declared, self._objects)), self._check)
        self._check()
        self._enter("Training", "Training image download completed. Training in progress.")
        self._log.begin()
        self._exit = self._fault = None
        host.start()
        self._log.keep_place()  # by this a later service knows that the program has been started
        exit_, early = self._follow(host)
        return self._upload(host, exit_, early)

    def _go_on(self, host: Host) -> Ending:
        """The same from where an earlier service was."""
        if self._record.progress is not None:
            self._log.resume(self._record.progress)
        self._log.note("taken over by a new service: the one that started this job ended without a word")
        for note in host.notes:
            self._log.note(note)
        exit_, early = self._follow(host)
        return self._upload(host, exit_, early)

    def _follow(self, host: Host) -> tuple[HostExit, Ending | None]:
        """Sees the program to its end; the second value tells who ended it early."""
        relay = self._thread(lambda: self._relay(host))
        waiter = self._thread(lambda: self._await_exit(host))
        if self._job.started is not None:
            # It may have ended while no service was there: then that is how it ended.
            waiter.join(_TAKE_OVER_SECONDS)
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
        if early is None and self._job.status == STOPPING:
            # An earlier service told it to stop, and died: its exit code is that of a stop, no failure.
            early = self._reason_to_stop() or STOP
        return self._exit, early

    def _upload(self, host: Host, exit_: HostExit, early: Ending | None) -> Ending:
        # Read first: an upload may fail, and the program's own words say more.
        failed = None if early or exit_.code == 0 else Ending.failed(self._failure_reason(host, exit_))
        self._store.enter(self._job.name, "Uploading", "Uploading generated training model")
        try:
            upload_results(host, self._job, self._objects, scratch=self._folder, note=self._log.note)
        except UploadError as error:
            return failed or Ending.failed(f"ClientError: Artifact upload failed: {error}")
        if failed or early:
            return failed or early or COMPLETION
        return STOP if self._stop.is_set() else COMPLETION

    def _failure_reason(self, host: Host, exit_: HostExit) -> str:
        """`AlgorithmError: TEXT, exit code: N`, TEXT shortened so that the whole has its place."""
        content = host.read(tree.FAILURE_FILE, _TEXT_LIMIT_BYTES)
        text = (content or b"").decode(errors="replace").strip() or self._what_ended_it(exit_)
        if shutil.disk_usage(self._folder).free < _FULL_DISK_BYTES:
            text = f"this machine's disk is full ({self._folder}); {text}"
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

    def _relay(self, host: Host) -> None:
        # Closed when it cannot be kept: a container does not end while somebody is in its output's way.
        with contextlib.closing(host.output(self._log.read)) as output:
            self._log.relay(output)

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

    def _set_deadline(self, started: datetime | None) -> None:
        """MaxRuntimeInSeconds counts from TrainingStartTime, over all attempts and services."""
        if started is not None:
            limit = self._job.request.get("StoppingCondition", {}).get(
                "MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME_SECONDS
            )
            self._deadline = time.monotonic() + limit - (datetime.now(tz=UTC) - started).total_seconds()

    def _say_place(self, before: int) -> None:
        limit = self._ticket.slots.limit
        self._store.enter(
            self._job.name,
            "Starting",
            f"Waiting for one of {limit} running jobs to end (--max-jobs), {before} waiting before this one",
        )

    def _note(self, text: str) -> None:
        """A remark that is worth less than what it is about: a full disk swallows it."""
        with contextlib.suppress(OSError):
            self._log.note(text)

    def _reason_to_stop(self) -> Ending | None:
        if self._stop.is_set():
            return STOP
        return MAX_RUNTIME if time.monotonic() >= self._deadline else None

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
            self._note(f"something was left behind on this machine: {error}")
