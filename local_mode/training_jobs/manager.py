"""TrainingJobs: the jobs of one service, each in a thread of its own."""

import logging
import os
import threading
from collections.abc import Mapping
from typing import Any

from drydock.contract import STOP_GRACE_SECONDS
from local_mode.engines import choose_engine, sweep
from local_mode.engines.base import Listeners
from local_mode.errors import ServiceError, ValidationException
from local_mode.home import Home
from local_mode.logs import LogStore
from local_mode.s3.store import ObjectStore
from local_mode.store import FAILED, RUNNING, TrainingJob, TrainingJobStore
from local_mode.training_jobs import channels, debugger
from local_mode.training_jobs.outputs import Destination
from local_mode.training_jobs.run import STOPPING_MESSAGE, TrainingJobRun

# Seconds from SIGTERM to SIGKILL instead of the platform's 120.
STOP_GRACE_VARIABLE = "DRYDOCK_STOP_GRACE_SECONDS"
# The same when the service itself stops: its user waits at a terminal.
CLOSE_GRACE_SECONDS = 10.0
RESTART_REASON = "InternalServerError: the local SageMaker was restarted while the job ran"

logger = logging.getLogger(__name__)


class TrainingJobs:
    """Creates, finds and stops training jobs.

    `engine_name` is `docker` or `process`, `engine_reason` says why it was taken. Raises
    EngineUnavailableError where `docker` is asked for and does not answer, ValueError for a grace that
    is no number of seconds.
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
        self._lock = threading.Lock()
        self._runs: dict[str, tuple[TrainingJobRun, threading.Thread]] = {}
        self._closed = False

    def recover(self) -> None:
        """Ends the jobs of a service that died and removes what they left; to be called before `create`."""
        sweep(self._engine, home=self._home)
        for job in self.store.all(statuses=RUNNING):
            self.store.end(
                job.name,
                status=FAILED,
                secondary_status="Failed",
                message="Training job failed",
                failure_reason=RESTART_REASON,
            )

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
            run = TrainingJobRun(
                job,
                engine=self._engine,
                store=self.store,
                objects=self._objects,
                logs=self._logs,
                folder=self._home.jobs / name,
                region=self._region,
                stop_grace_seconds=self._grace,
            )
            thread = threading.Thread(target=self._run, args=(name, run), name=f"job-{name}")
            self._runs[name] = (run, thread)
            thread.start()
        return job

    def stop(self, name: str) -> None:
        """Raises ValidationException for an unknown job, or one that has ended or is stopping."""
        self.store.request_stop(name, STOPPING_MESSAGE)
        with self._lock:
            running = self._runs.get(name)
        if running is not None:
            running[0].stop()

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
            run.stop(grace_seconds=CLOSE_GRACE_SECONDS)
        for _run, thread in running.values():
            thread.join()
        self._engine.close()
        self.store.close()

    def _run(self, name: str, run: TrainingJobRun) -> None:
        try:
            run()
        finally:
            with self._lock:
                # A job that was deleted as soon as it had ended may have a successor of its name.
                if self._runs[name][0] is run:
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
