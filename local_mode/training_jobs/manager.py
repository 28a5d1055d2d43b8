"""TrainingJobs: the jobs of one service, each in a thread of its own."""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Mapping
from typing import Any

from drydock.contract import STOP_GRACE_SECONDS
from local_mode.engines import DOCKER, choose_engine, sweep
from local_mode.engines.base import EngineUnavailableError, Host, HostError, Listeners
from local_mode.errors import ServiceError, ValidationException
from local_mode.home import Home
from local_mode.logs import LogStore
from local_mode.s3.store import ObjectStore
from local_mode.store import RUNNING, STOPPING, TrainingJob, TrainingJobStore
from local_mode.training_jobs import channels, debugger, tree
from local_mode.training_jobs.endings import Ending
from local_mode.training_jobs.outputs import Destination
from local_mode.training_jobs.record import RunRecord
from local_mode.training_jobs.run import HOST, STOPPING_MESSAGE, TrainingJobRun
from local_mode.training_jobs.slots import Slots

# Seconds from SIGTERM to SIGKILL instead of the platform's 120.
STOP_GRACE_VARIABLE = "DRYDOCK_STOP_GRACE_SECONDS"
# The same when the service itself stops: its user waits at a terminal.
CLOSE_GRACE_SECONDS = 10.0

logger = logging.getLogger(__name__)


class TrainingJobs:
    """Creates, finds and stops training jobs.

    At most `max_jobs` run at once. `engine_name` is `docker` or `process`, `engine_reason` says why it was
    taken. Raises EngineUnavailableError where `docker` is asked for and does not answer, ValueError for a
    grace that is no number of seconds.
    """

    def __init__(
        self,
        home: Home,
        objects: ObjectStore,
        logs: LogStore,
        *,
        engine_name: str,
        endpoint: str,
        region: str,
        account: str,
        listeners: Listeners,
        max_jobs: int,
    ) -> None:
        self._grace = _stop_grace(os.environ)
        self._home = home
        self._objects = objects
        self._logs = logs
        self._region = region
        self._account = account
        self._engine, self.engine_reason = choose_engine(
            engine_name, home=home, endpoint=endpoint, listeners=listeners
        )
        self.engine_name = self._engine.name
        logger.info("engine %s: %s", self.engine_name, self.engine_reason)
        self.store = TrainingJobStore(home.database)
        self._listeners = listeners
        self._slots = Slots(max_jobs)
        self._lock = threading.Lock()
        self._runs: dict[str, tuple[TrainingJobRun, threading.Thread]] = {}
        self._closed = False

    def recover(self) -> None:
        """Takes over the jobs of a service that died, and removes what else it left.

        To be called before `create`.
        """
        jobs = self.store.all(statuses=RUNNING)
        records = {job.name: self._record(job.name) for job in jobs}
        hosts = {job.name: host for job in jobs if (host := self._find(job, records[job.name])) is not None}
        for path in self._home.runs.iterdir():
            if path.stem not in records or path.suffix != ".json":
                path.unlink()
        was_docker = any(record.engine == DOCKER for record in records.values())
        try:
            sweep(
                self._engine,
                home=self._home,
                listeners=self._listeners,
                keep=hosts,
                was_docker=was_docker,
            )
        except EngineUnavailableError as error:
            logger.warning("what an earlier service left in Docker stays there: %s", error)
        with self._lock:
            for job in jobs:
                host, record = hosts.get(job.name), records[job.name]
                if host is None and record.ending is None:
                    try:
                        self._engine.check(job.request)  # it may be another one than before
                    except ServiceError as error:
                        record.ending = Ending.failed(f"InternalServerError: {error.message}")
                logger.info("training job %s: %s", job.name, "taken over" if host else "not running")
                self._start(job, record, host)

    def _find(self, job: TrainingJob, record: RunRecord) -> Host | None:
        """The host of a job, if its program was started."""
        if record.ending is not None or record.engine != self.engine_name:
            return None
        try:
            return self._engine.find(tree.host_spec(job, (), host=HOST, region=self._region))
        except (HostError, OSError, ValueError):  # whatever is wrong with one job, the service starts
            logger.exception("training job %s cannot be taken over", job.name)
            return None

    def _record(self, name: str) -> RunRecord:
        return RunRecord(self._home.runs / f"{name}.json", engine=self.engine_name)

    def _start(self, job: TrainingJob, record: RunRecord, host: Host | None = None) -> None:
        """Starts the job's thread; the caller has the lock."""
        run = TrainingJobRun(
            job,
            engine=self._engine,
            store=self.store,
            objects=self._objects,
            logs=self._logs,
            folder=self._home.jobs / job.name,
            region=self._region,
            stop_grace_seconds=self._grace,
            ticket=self._slots.ticket(runs=host is not None),
            record=record,
            host=host,
            release_reserve=self._home.release_reserve,
        )
        if job.status == STOPPING and not run.was_out_of_time:
            run.stop()
        thread = threading.Thread(target=self._run, args=(job.name, run), name=f"job-{job.name}")
        self._runs[job.name] = (run, thread)
        thread.start()

    def create(self, request: Mapping[str, Any]) -> TrainingJob:
        """Starts a job; the request has passed the API model's own rules.

        Raises ServiceError: ValidationException for what is not emulated or cannot work, ResourceInUse
        for a name used before.
        """
        declared = channels.channels_of(request)
        channels.check(declared)
        Destination.from_uri(request["OutputDataConfig"]["S3OutputPath"]).check(self._objects)
        debugger.check(request, self._objects)
        self._engine.check(request)
        name = request["TrainingJobName"]
        with self._lock:
            if self._closed:
                raise ServiceError("ServiceUnavailable", "The local SageMaker is stopping.", status=503)
            job = self.store.create(
                name=name,
                arn=f"arn:aws:sagemaker:{self._region}:{self._account}:training-job/{name}",
                request=request,
                message="Starting the training job",
            )
            self._start(job, self._record(name))
        return job

    def stop(self, name: str) -> None:
        """Raises ValidationException for an unknown job, or one that has ended or is stopping."""
        self.store.request_stop(name, STOPPING_MESSAGE)
        with self._lock:
            running = self._runs.get(name)
        if running is not None:
            running[0].stop()

    def delete(self, name: str) -> None:
        """Forgets a job that has ended; its name may be used again at once.

        Raises ValidationException for an unknown job, ServiceError ResourceInUse for one that has not ended.
        """
        ended = self.store.get(name).status not in RUNNING
        with self._lock:
            running = self._runs.get(name)
        if ended and running is not None:
            running[1].join()  # it puts its things away
        self.store.delete(name)

    def close(self) -> None:
        """Stops the running jobs, waits for their ends and closes the store."""
        with self._lock:
            self._closed = True
            running = dict(self._runs)
        for name, (run, _thread) in running.items():
            try:
                self.store.request_stop(name, f"{STOPPING_MESSAGE}: the local SageMaker is shutting down")
            except ValidationException:
                logger.debug("%s stops already", name)
            except sqlite3.Error:  # a full disk: the program is stopped all the same
                logger.exception("training job %s: its stop could not be written", name)
            run.stop(grace_seconds=CLOSE_GRACE_SECONDS)
        for _run, thread in running.values():
            thread.join()
        self._engine.close()
        self.store.close()

    def _run(self, name: str, run: TrainingJobRun) -> None:
        try:
            run()
        except Exception:
            logger.exception("training job %s: its end could not be written", name)
        finally:
            with contextlib.suppress(OSError):
                self._home.fill_reserve()
            with self._lock:
                del self._runs[name]


def _stop_grace(environment: Mapping[str, str]) -> float:
    text = environment.get(STOP_GRACE_VARIABLE)
    if text is None:
        return STOP_GRACE_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise ValueError(f"{STOP_GRACE_VARIABLE}={text}: give seconds from 0 to 3600")
    return seconds
