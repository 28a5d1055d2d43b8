"""Sends requests, follows the training job among them, brings its results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import botocore.exceptions

from jobs.client import Clients, said
from jobs.document import Request, check
from jobs.download import Artifacts, download
from jobs.errors import EXIT_CODES, EXIT_OUT_OF_SIGHT, JobError
from jobs.follow import follow
from jobs.interruptions import Interruptions
from jobs.report import report
from jobs.screen import screen
from jobs.source import Source
from jobs.target import Target

_FOLLOWED = "CreateTrainingJob"
_DONE_AT_ONCE = frozenset({"CreateModel", "CreateEndpointConfig"})
_METHODS: Mapping[str, str] = {
    "CreateTrainingJob": "create_training_job",
    "CreateHyperParameterTuningJob": "create_hyper_parameter_tuning_job",
    "CreateProcessingJob": "create_processing_job",
    "CreateTransformJob": "create_transform_job",
    "CreateModel": "create_model",
    "CreateEndpointConfig": "create_endpoint_config",
    "CreateEndpoint": "create_endpoint",
}


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a followed job ended."""

    exit_code: int
    text: str  # the report
    error: str | None  # FailureReason, or why the results are not here


def refuse_unfollowed(requests: Sequence[Request]) -> None:
    """Raise `JobError` for requests whose end nobody would wait for."""
    operations = check(requests, allow_file_uris=True)
    unfollowed = [operation for operation in operations if operation not in {_FOLLOWED, *_DONE_AT_ONCE}]
    if unfollowed or operations.count(_FOLLOWED) > 1:
        what = " and ".join(unfollowed) or "several training jobs of one file"
        raise JobError(f"cannot follow {what}: pass --no-wait to send without waiting for the end")


def upload(clients: Clients, source: Source) -> None:
    """Bring a user's script to where the request says it is. Raises `JobError`."""
    try:
        source.upload(clients.s3)
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise JobError(f"cannot upload {source.folder} to {source.address}: {said(error)}") from error


def send(clients: Clients, requests: Sequence[Request]) -> str | None:
    """Send the requests in order; the name of the last training job among them, if there is one.

    Raises `JobError` with the answer to the first that is refused, and what was sent before it.
    """
    job_name = None
    sent: list[str] = []
    for operation, request in zip(check(requests, allow_file_uris=True), requests, strict=True):
        try:
            getattr(clients.sagemaker, _METHODS[operation])(**request)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            before = f" (sent before it: {', '.join(sent)})" if sent else ""
            raise JobError(said(error) + before) from error
        sent.append(operation)
        if operation == _FOLLOWED:
            job_name = str(request["TrainingJobName"])
    return job_name


def follow_to_end(
    target: Target, job_name: str, *, interruptions: Interruptions, download_to: Path | None
) -> Ending:
    """Follow a job and download its results into `download_to`/JOB.

    Raises `DetachedError`, and `JobError` where the job is out of sight.
    """
    try:
        with screen() as shown:
            description = follow(
                target.clients,
                job_name,
                screen=shown,
                interruptions=interruptions,
                poll_seconds=target.poll_seconds,
            )
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise JobError(f"lost sight of {job_name}: {said(error)}", exit_code=EXIT_OUT_OF_SIGHT) from error
    exit_code = EXIT_CODES[description["TrainingJobStatus"]]
    error_text = description.get("FailureReason")
    files: Sequence[Path] = ()
    if download_to is not None:
        try:
            files = download(target.clients.s3, Artifacts.of(description), download_to / job_name)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError, JobError) as error:
            # The job's own failure is the more important one.
            exit_code = exit_code or EXIT_OUT_OF_SIGHT
            error_text = error_text or f"the results are not here: {said(error)}"
    return Ending(
        exit_code=exit_code, text=report(description, files, is_aws=target.is_aws), error=error_text
    )
