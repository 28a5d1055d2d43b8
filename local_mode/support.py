"""What the local SageMaker does with each field of CreateTrainingJob: done, harmless or refused.

SUPPORT is the whole truth: a field of botocore's model that is not in it is refused by name. The table
in docs/support.md is made from it: `python -m local_mode.support` writes the file.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from botocore.model import Shape

from local_mode.errors import ValidationException

DONE, HARMLESS, REFUSED = "done", "harmless", "refused"
OPERATION = "CreateTrainingJob"
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "support.md"


@dataclass(frozen=True, kw_only=True)
class Support:
    """What becomes of one field."""

    verdict: str
    note: str = ""
    only: tuple[Any, ...] = ()  # the values taken; empty: all that the API's model allows


def _done(note: str = "", *, only: tuple[Any, ...] = ()) -> Support:
    return Support(verdict=DONE, note=note, only=only)


def _harmless(note: str, *, only: tuple[Any, ...] = ()) -> Support:
    return Support(verdict=HARMLESS, note=note, only=only)


# `[]` is an item of a list, `{}` a value of a map. A field that is off either way when it says so
# (`only=(False,)`) is taken, so that clients that always send it work.
SUPPORT: Mapping[str, Support] = {
    "TrainingJobName": _done("unique within a home; a name used before is `ResourceInUse`"),
    "HyperParameters{}": _done("`hyperparameters.json`"),
    "AlgorithmSpecification.TrainingImage": _done(
        "an ECR address is looked up as NAME:TAG on this machine first, then pulled; "
        "the process engine takes `drydock-train` only"
    ),
    "AlgorithmSpecification.TrainingInputMode": _done(only=("File",)),
    "AlgorithmSpecification.MetricDefinitions[].Name": _done(),
    "AlgorithmSpecification.MetricDefinitions[].Regex": _done(
        "each whole line is searched, for at most a second; the first group that matched is the value"
    ),
    "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries": _harmless("every value is kept anyway"),
    "AlgorithmSpecification.ContainerEntrypoint[]": _done("refused by the process engine"),
    "AlgorithmSpecification.ContainerArguments[]": _done("refused by the process engine"),
    "RoleArn": _harmless("nothing here asks for permission"),
    "InputDataConfig[].ChannelName": _done(),
    "InputDataConfig[].DataSource.S3DataSource.S3DataType": _done(only=("S3Prefix",)),
    "InputDataConfig[].DataSource.S3DataSource.S3Uri": _done(
        "`s3://` from the local S3; `file://` too, which AWS does not take"
    ),
    "InputDataConfig[].DataSource.S3DataSource.S3DataDistributionType": _done(only=("FullyReplicated",)),
    "InputDataConfig[].ContentType": _done("`inputdataconfig.json`"),
    "InputDataConfig[].CompressionType": _done(only=("None",)),
    "InputDataConfig[].RecordWrapperType": _done(only=("None",)),
    "InputDataConfig[].InputMode": _done(only=("File",)),
    "OutputDataConfig.KmsKeyId": _harmless("empty means no key; a key is refused", only=("",)),
    "OutputDataConfig.S3OutputPath": _done(
        "`s3://` into the local S3; `file://` too, which AWS does not take"
    ),
    "OutputDataConfig.CompressionType": _done(only=("GZIP",)),
    "ResourceConfig.InstanceType": _done(
        "`resourceconfig.json`; `ml.g*` and `ml.p*` get this machine's GPUs where Docker has the nvidia "
        "runtime, else the log says that there is none; processors and memory are this machine's"
    ),
    "ResourceConfig.InstanceCount": _done(only=(1,)),
    "ResourceConfig.VolumeSizeInGB": _harmless("a job has this machine's disk"),
    "ResourceConfig.KeepAlivePeriodInSeconds": _harmless("zero means no warm pool", only=(0,)),
    "StoppingCondition.MaxRuntimeInSeconds": _done("SIGTERM, 120 s, SIGKILL; counted from TrainingStartTime"),
    "StoppingCondition.MaxPendingTimeInSeconds": _harmless("a job never waits for capacity here"),
    "Tags[].Key": _harmless("kept with the job; ListTags is not emulated"),
    "Tags[].Value": _harmless("kept with the job; ListTags is not emulated"),
    "EnableNetworkIsolation": _done(only=(False,)),
    "EnableInterContainerTrafficEncryption": _harmless("one host has no traffic between hosts"),
    "EnableManagedSpotTraining": _done(only=(False,)),
    "ProfilerConfig.DisableProfiler": _harmless("nothing is profiled", only=(True,)),
    "Environment{}": _done("wins over what the local SageMaker sets itself"),
    "RemoteDebugConfig.EnableRemoteDebug": _done(only=(False,)),
    "InfraCheckConfig.EnableInfraCheck": _done(only=(False,)),
    "SessionChainingConfig.EnableSessionTagChaining": _done(only=(False,)),
}


def check(request: Mapping[str, Any], *, operation: str = OPERATION) -> None:
    """Raises ValidationException for the first field, or value, that is not emulated here."""
    for path, generic, value in _fields(request):
        supported = SUPPORT.get(generic)
        if supported is None:
            if not any(known.startswith((f"{generic}.", f"{generic}[", f"{generic}{{")) for known in SUPPORT):
                raise ValidationException(
                    f"The local SageMaker does not emulate {path} of {operation}; "
                    "remove it or run the job on AWS"
                )
        elif supported.only and value not in supported.only:
            taken = " or ".join(repr(each) for each in supported.only)
            raise ValidationException(
                f"The local SageMaker does not emulate {path} {value!r} of {operation}, only {taken}; "
                "change it or run the job on AWS"
            )


def table() -> str:
    """The rows of docs/support.md: every field of the API's model, in its order."""
    rows = ["| Field | | Values and notes |", "|---|---|---|"]
    for path in leaves(_input_shape()):
        supported = SUPPORT.get(path, Support(verdict=REFUSED))
        only = (
            "only " + " or ".join(f"`{_json(value)}`" for value in supported.only) if supported.only else ""
        )
        notes = "; ".join(part for part in (only, supported.note) if part)
        rows.append(f"| `{path}` | {supported.verdict} | {notes} |")
    return "\n".join(rows)


def document() -> str:
    """docs/support.md as it should be."""
    paths = list(leaves(_input_shape()))
    counts = {
        verdict: sum(SUPPORT.get(path, Support(verdict=REFUSED)).verdict == verdict for path in paths)
        for verdict in (DONE, HARMLESS, REFUSED)
    }
    return f"""\
# What the local SageMaker emulates

Every field of a request is done, harmless or refused; none is ignored in silence. *Done*: it has the
effect that it has on AWS. *Harmless*: taken, without an effect that a job on one machine could show.
*Refused*: the request gets a `ValidationException` that names the field. Where values are listed, any
other value is refused too.

This page is made from `SUPPORT` in `local_mode/support.py`: `python -m local_mode.support` writes it.

## Where a job here is not quite a job on AWS

- A channel's S3Uri and the S3OutputPath may be `file://` and an absolute path. With Docker such a
  folder is mounted read-only; with processes its files are linked into real folders, so that adding
  and deleting leaves it alone (writing *into* a linked file would not).
- `s3://bucket/a/b` without a slash at its end is a string, as in S3: objects below `a/b/` keep their path
  from there, the object `a/b` is the file `b`, and `a/bc/d` becomes `bc/d`.
- Missing objects and empty folders fail the job (`ClientError: Data download failed:...`); a folder that does
  not exist, an output bucket that does not exist and an image that cannot be had are refused at once.
- A carriage return ends a line of the log, as a newline does. Lines that begin with `[drydock]` are the
  local SageMaker's own.
- Links in `/opt/ml/model` and `/opt/ml/output/data` that lead out of the folder, and pipes and sockets,
  are left out of the archives; the log names them.
- `DRYDOCK_STOP_GRACE_SECONDS` replaces the 120 seconds between SIGTERM and SIGKILL. When the service
  itself is stopped, its jobs get at most 10.

## CreateTrainingJob

{counts[DONE]} fields done, {counts[HARMLESS]} harmless, {counts[REFUSED]} refused. `[]` is an item of a \
list, `{{}}` a value of a map.

{table()}
"""


def leaves(shape: Shape, path: str = "", parents: tuple[str, ...] = ()) -> Iterator[str]:
    """The paths of all fields below a shape that hold a value of their own."""
    if shape.name in parents:
        yield path  # a shape within itself: refused or done as a whole
    elif shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from leaves(member, f"{path}.{name}" if path else name, (*parents, shape.name))
    elif shape.type_name == "list":
        yield from leaves(shape.member, f"{path}[]", parents)
    elif shape.type_name == "map":
        yield from leaves(shape.value, f"{path}{{}}", parents)
    else:
        yield path


def _fields(value: Any, path: str = "", generic: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every node below the request: its path, the same without indexes and keys, its value."""
    # A map of the API has keys of the user's own; it is told from a structure by the table.
    if isinstance(value, Mapping):
        is_map = f"{generic}{{}}" in SUPPORT
        for name, member in value.items():
            here = f"{path}.{name}" if path else name
            below = f"{generic}{{}}" if is_map else f"{generic}.{name}" if generic else name
            yield here, below, member
            yield from _fields(member, here, below)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield f"{path}[{index}]", f"{generic}[]", member
            yield from _fields(member, f"{path}[{index}]", f"{generic}[]")


@cache
def _input_shape() -> Shape:
    model = botocore.session.get_session().get_service_model("sagemaker")
    return model.operation_model(OPERATION).input_shape


def _json(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if value == "" else str(value)


def main() -> None:
    """Writes docs/support.md."""
    DOCUMENT.write_text(document(), encoding="utf-8")
    sys.stdout.write(f"wrote {DOCUMENT}\n")


if __name__ == "__main__":
    main()
