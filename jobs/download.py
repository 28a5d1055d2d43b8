"""Brings what a job made onto this machine, as files to look at."""

import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.exceptions

from jobs.errors import EXIT_OUT_OF_SIGHT, JobError

MODEL, OUTPUT = "model.tar.gz", "output.tar.gz"


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """Where a job's results lie."""

    model: str | None  # address of model.tar.gz; None: the job made none
    output: str  # address of output.tar.gz, which need not be there

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> "Artifacts":
        """From DescribeTrainingJob."""
        base = description["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        return cls(
            model=description.get("ModelArtifacts", {}).get("S3ModelArtifacts"),
            output=f"{base}/{description['TrainingJobName']}/output/{OUTPUT}",
        )


def download(s3: Any, artifacts: Artifacts, folder: Path) -> Sequence[Path]:
    """Put both archives, and what output.tar.gz holds, into `folder`; the files that are there then.

    Raises `JobError` where a file cannot be written, or where an archive wants to write outside of its
    folder; botocore's errors pass through.
    """
    files: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if artifacts.model is not None and artifacts.model.endswith(".tar.gz"):
            files += _fetch(s3, artifacts.model, folder / MODEL)
        for archive in _fetch(s3, artifacts.output, folder / OUTPUT):
            files += [archive, *_unpack(archive, folder / "output")]
    except OSError as error:
        raise JobError(
            f"cannot write below {folder}: {error.strerror or error}", exit_code=EXIT_OUT_OF_SIGHT
        ) from error
    return files


def _fetch(s3: Any, address: str, target: Path) -> Sequence[Path]:
    """Copy one file; nothing where it does not exist."""
    part = target.with_name(f"{target.name}.part")
    if address.startswith("file://"):
        source = Path(address.removeprefix("file://"))
        if not source.is_file():
            return []
        shutil.copyfile(source, part)
    else:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        try:
            s3.download_file(bucket, key, str(part))
        except botocore.exceptions.ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                return []
            raise
    part.replace(target)
    return [target]


def _unpack(archive: Path, folder: Path) -> Sequence[Path]:
    """Unpack into a folder that holds nothing else; the files in it."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            # Refuses absolute names, `..`, links that lead out, devices: the job's program wrote the archive.
            tar.extractall(part, filter="data")
    except tarfile.TarError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise JobError(f"{archive} was not unpacked: {error}", exit_code=EXIT_OUT_OF_SIGHT) from error
    part.mkdir(exist_ok=True)  # an empty archive
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())
