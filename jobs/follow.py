"""Follows a training job to its end."""

from collections.abc import Mapping
from typing import Any

import botocore.exceptions

from jobs.client import Clients, said
from jobs.interruptions import Interruptions
from jobs.logs import LogTail
from jobs.screen import Screen

FINAL_STATUSES = frozenset({"Completed", "Failed", "Stopped"})


class DetachedError(Exception):
    """The user does not want to follow the job any longer; it runs on."""


def follow(
    clients: Clients,
    job_name: str,
    *,
    screen: Screen,
    interruptions: Interruptions,
    poll_seconds: float,
) -> Mapping[str, Any]:
    """Show a job's log and status until it ends; the last DescribeTrainingJob.

    The first interruption stops the job and goes on following it, the second raises `DetachedError`.
    botocore's errors pass through.
    """
    tail = LogTail(clients.logs, job_name)
    stopping = False
    while True:
        if interruptions.count and not stopping:
            stopping = True
            _stop(clients, job_name, screen)
        if interruptions.count > 1:
            raise DetachedError
        # Described before the log is read: once a job has ended, what follows is its whole log.
        description: Mapping[str, Any] = clients.sagemaker.describe_training_job(TrainingJobName=job_name)
        screen.status(description)
        for line in tail.new_lines():
            screen.log(line)
        if description["TrainingJobStatus"] in FINAL_STATUSES:
            break
        interruptions.wait(poll_seconds)
    # Lines may reach the log service later than the end reaches SageMaker: read until none came for a while.
    quiet = False
    while not quiet and interruptions.count < 2:
        interruptions.wait(poll_seconds)
        quiet = True
        for line in tail.new_lines():
            screen.log(line)
            quiet = False
    return description


def _stop(clients: Clients, job_name: str, screen: Screen) -> None:
    try:
        clients.sagemaker.stop_training_job(TrainingJobName=job_name)
    except botocore.exceptions.ClientError as error:
        # It may have ended in the meantime, which the next look at it will tell.
        screen.note(f"cannot stop {job_name}: {said(error)}")
    else:
        screen.note(
            f"Stopping {job_name}; its model so far will be kept. Ctrl-C again leaves it running and returns."
        )
