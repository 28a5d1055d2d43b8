"""What a program leaves, brought to where its request says."""

from collections.abc import Callable
from pathlib import Path

from local_mode.engines.base import Host
from local_mode.errors import ServiceError
from local_mode.s3.store import ObjectStore
from local_mode.store import TrainingJob
from local_mode.training_jobs import debugger, tree
from local_mode.training_jobs.outputs import MODEL_ARCHIVE, OUTPUT_ARCHIVE, Destination, write_tar_gz


class UploadError(Exception):
    """Something could not be uploaded; the message says what and why."""


def upload_results(
    host: Host, job: TrainingJob, objects: ObjectStore, *, scratch: Path, note: Callable[[str], None]
) -> None:
    """model.tar.gz, output.tar.gz and the Debugger's folders; `note` takes remarks for the job's log.

    Archives are written in `scratch` first. Raises UploadError.
    """
    destination = Destination.from_uri(job.request["OutputDataConfig"]["S3OutputPath"])
    for folder, file_name in ((tree.MODEL, MODEL_ARCHIVE), (tree.OUTPUT_DATA, OUTPUT_ARCHIVE)):
        uri = destination.artifact(job.name, file_name)
        packed = scratch / file_name
        try:
            count, notes = write_tar_gz(host.entries(folder), packed, folder=folder)
            for remark in notes:
                note(remark)
            if count:
                destination.upload(packed, uri, objects)
        except (OSError, ServiceError) as error:
            raise UploadError(f"{uri}: {error}") from error
        finally:
            packed.unlink(missing_ok=True)
        if folder == tree.MODEL and not count:
            note("the program left nothing in /opt/ml/model: no model.tar.gz is uploaded")
    try:
        for remark in debugger.upload(host, job.name, job.request, objects, scratch=scratch):
            note(remark)
    except (OSError, ServiceError) as error:
        raise UploadError(str(error)) from error
