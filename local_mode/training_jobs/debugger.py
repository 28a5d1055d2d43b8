"""Debugger, profiler and TensorBoard settings of a request: files for the program, and what it leaves there.

The platform writes each setting into `input/config` and uploads the folder that it names. Folders and
prefixes: API reference, DebugHookConfig, ProfilerConfig and TensorBoardOutputConfig; the SageMaker SDK's
`latest_job_debugger_artifacts_path` and its likes.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from local_mode.engines.base import Host
from local_mode.errors import ValidationException
from local_mode.s3.store import ObjectStore
from local_mode.training_jobs.outputs import BASE, Destination

_CONTENT_TYPE = "binary/octet-stream"


@dataclass(frozen=True, kw_only=True)
class _Setting:
    file_name: str  # in input/config
    local_path: str  # where the program writes, unless the request says otherwise
    prefix: str  # below S3OutputPath/JOB


_SETTINGS: Mapping[str, _Setting] = {
    "DebugHookConfig": _Setting(
        file_name="debughookconfig.json", local_path="/opt/ml/output/tensors", prefix="debug-output"
    ),
    "ProfilerConfig": _Setting(
        file_name="profilerconfig.json", local_path="/opt/ml/output/profiler", prefix="profiler-output"
    ),
    "TensorBoardOutputConfig": _Setting(
        file_name="tensorboardoutputconfig.json",
        local_path="/opt/ml/output/tensorboard",
        prefix="tensorboard-output",
    ),
}
# The platform's alone; what it writes there is no output.
_INPUT = PurePosixPath("input")


@dataclass(frozen=True, kw_only=True)
class DebuggerOutput:
    """A folder of the tree whose files go to S3 one by one."""

    field: str  # of the request
    folder: PurePosixPath  # below the tree's base
    output_path: str  # the field's S3OutputPath
    prefix: str

    def uri(self, job_name: str, relative: str) -> str:
        return f"{self.output_path.rstrip('/')}/{job_name}/{self.prefix}/{relative}"


def documents(request: Mapping[str, Any]) -> dict[str, Any]:
    """The files of input/config, by name; paths are as in a container, where the tree is /opt/ml."""
    found = {}
    for field, setting in _SETTINGS.items():
        if field in request:
            # ProfilerConfig has no LocalPath: the profiler's folder is fixed.
            local = {} if field == "ProfilerConfig" else {"LocalPath": setting.local_path}
            found[setting.file_name] = {**local, **request[field]}
    return found


def outputs(request: Mapping[str, Any]) -> tuple[DebuggerOutput, ...]:
    """What is uploaded of a job beside its archives.

    Raises ValidationException for a LocalPath that is not the job's to write to.
    """
    return tuple(
        DebuggerOutput(
            field=field,
            folder=_folder(field, request[field].get("LocalPath", setting.local_path)),
            output_path=request[field]["S3OutputPath"],
            prefix=setting.prefix,
        )
        for field, setting in _SETTINGS.items()
        if "S3OutputPath" in request.get(field, {}) and not request[field].get("DisableProfiler", False)
    )


def check(request: Mapping[str, Any], objects: ObjectStore) -> None:
    """Raises ValidationException for a setting that cannot work."""
    for output in outputs(request):
        Destination.from_uri(output.output_path).check(objects, field=f"{output.field}.S3OutputPath")


def upload(
    host: Host, job_name: str, request: Mapping[str, Any], objects: ObjectStore, *, scratch: Path
) -> Iterator[str]:
    """Uploads the files of every output and yields notes for the log; `scratch` is a folder for one file.

    Raises OSError and ServiceError where a file cannot be stored.
    """
    packed = scratch / "debugger-output"
    left_out: list[str] = []
    for output in outputs(request):
        destination = Destination.from_uri(output.output_path)
        for info, content in host.entries(output.folder):
            if info.isdir():
                continue
            if content is None or not _is_text(info.name):
                left_out.append(_shown(str(BASE / output.folder / info.name)))
                continue
            try:
                with packed.open("wb") as copy:
                    shutil.copyfileobj(content, copy, 1 << 20)
                destination.upload(
                    packed, output.uri(job_name, info.name), objects, content_type=_CONTENT_TYPE
                )
            finally:
                packed.unlink(missing_ok=True)
    if left_out:
        more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
        yield f"{left_out[0]}{more} not uploaded: neither a file nor a folder, or a name that is not UTF-8"


def _folder(field: str, local_path: str) -> PurePosixPath:
    """LocalPath below the tree's base."""
    path = PurePosixPath(local_path)
    folder = path.relative_to(BASE) if path.is_relative_to(BASE) else PurePosixPath()
    if not folder.parts or ".." in folder.parts or folder.is_relative_to(_INPUT):
        raise ValidationException(
            f"{field}.LocalPath {local_path}: the local SageMaker uploads folders below {BASE} only, "
            f"outside of {BASE / _INPUT}"
        )
    return folder


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
