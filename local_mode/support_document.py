"""docs/support.md: what is emulated, from the tables that decide it. `make docs` writes the file."""

import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore.model import ServiceModel, Shape

from local_mode import logs_api, moto_services, protocol
from local_mode.s3 import operations as s3
from local_mode.server import LOGS, SAGEMAKER
from local_mode.support import CREATE_TRAINING_JOB, DONE, HARMLESS, REFUSED, SUPPORT, Support

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "support.md"
_REFUSED = Support(verdict=REFUSED)
_MOTO_NAMES: Mapping[str, str] = {"ecr": "ECR", "iam": "IAM", "monitoring": "CloudWatch", "sts": "STS"}


def document() -> str:
    """docs/support.md as it should be."""
    model = SAGEMAKER.model()
    refused = [name for name in model.operation_names if name not in SAGEMAKER.operations]
    s3_members = {name: operation.members for name, operation in s3.OPERATIONS.items()}
    moto = ", ".join(_MOTO_NAMES[name] for name in moto_services.SERVICES)
    return f"""\
# What the local SageMaker emulates

Every field of a request is done, harmless or refused; none is ignored in silence. *Done*: it has the
effect that it has on AWS. *Harmless*: taken, without an effect that a job on one machine could show.
*Refused*: the request gets an error that names the field. Where values are listed, any other value is
refused too. An operation that is refused gets an error that names the operation.

`make docs` writes this page from the tables by which the service decides.

- [SageMaker](#sagemaker): {len(SAGEMAKER.operations)} of {len(model.operation_names)} operations
- [S3](#s3): {len(s3.OPERATIONS)} operations
- [CloudWatch Logs](#cloudwatch-logs): {len(LOGS.operations)} operations
- {moto}: answered by [moto](https://docs.getmoto.org/en/latest/docs/services/), in memory;
  the metrics of jobs, in CloudWatch's namespace `/aws/sagemaker/TrainingJobs`, come from the jobs' database
- Every other service: refused

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
- Links in `/opt/ml/model` and `/opt/ml/output/data` that lead out of the folder, pipes, sockets and devices
  are left out of the archives; the log names the first twenty. Every file can be read there, whatever its
  mode was; what hardly compresses, such as weights, is stored as it is. A hole in a file is packed as zeros.
- The files of the Debugger, the profiler and TensorBoard name paths below `/opt/ml`; with processes that is
  the folder in `SAGEMAKER_BASE_DIR`. What the program writes there is uploaded when it has ended, not while
  it runs. The platform's own system metrics, rules and reports are not made.
- `DRYDOCK_STOP_GRACE_SECONDS` replaces the 120 seconds between SIGTERM and SIGKILL. When the service
  itself is stopped, its jobs get at most 10.

## SageMaker

In a field's name `[]` is an item of a list, `{{}}` a value of a map.

{_sagemaker(model)}
### Refused operations

{textwrap.fill(", ".join(refused), 110)}.

## S3

Members of each operation's request; any other is refused (`NotImplemented`). Taken by every operation that
has them, and harmless: {_harmless_of_s3()}; and `ExpectedBucketOwner` must be the account.

{_members(protocol.service_model("s3"), s3_members)}

## CloudWatch Logs

Any other member is refused (`InvalidParameterException`). Harmless: {_listed(logs_api.HARMLESS)}.

{_members(LOGS.model(), logs_api.DONE)}
"""


def leaves(shape: Shape | None, path: str = "", parents: tuple[str, ...] = ()) -> Iterator[str]:
    """The paths of all fields below a shape that hold a value of their own."""
    if shape is None:
        return
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


def _sagemaker(model: ServiceModel) -> str:
    names = sorted(SAGEMAKER.operations, key=lambda name: (name != CREATE_TRAINING_JOB, name))
    return "\n".join(_operation(model, name) for name in names)


def _operation(model: ServiceModel, name: str) -> str:
    fields, paths = SUPPORT[name], list(leaves(model.operation_model(name).input_shape))
    verdicts = [fields.get(path, _REFUSED).verdict for path in paths]
    counts = ", ".join(
        f"{verdicts.count(verdict)} {verdict}" for verdict in (DONE, HARMLESS, REFUSED) if verdict in verdicts
    )
    rows = "\n".join(_row(path, fields.get(path, _REFUSED)) for path in paths)
    return f"""\
### {name}

Fields: {counts}.

| Field | | Values and notes |
|---|---|---|
{rows}
"""


def _row(path: str, support: Support) -> str:
    only = "only " + " or ".join(f"`{_json(value)}`" for value in support.only) if support.only else ""
    notes = "; ".join(part for part in (only, support.why, support.note) if part)
    return f"| `{path}` | {support.verdict} | {notes} |"


def _members(model: ServiceModel, done: Mapping[str, Iterable[str]]) -> str:
    rows = ["| Operation | Done |", "|---|---|"]
    for name in sorted(done):
        shape = model.operation_model(name).input_shape
        known = [member for member in (shape.members if shape else ()) if member in set(done[name])]
        rows.append(f"| {name} | {_listed(known, in_order=True)} |")
    return "\n".join(rows)


def _harmless_of_s3() -> str:
    return ", ".join(
        f"`{member}` ({' or '.join(sorted(values))})" for member, values in sorted(s3.HARMLESS.items())
    )


def _listed(names: Iterable[str], *, in_order: bool = False) -> str:
    return ", ".join(f"`{name}`" for name in (names if in_order else sorted(names)))


def _json(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if value == "" else str(value)


def main() -> None:
    """Writes docs/support.md."""
    DOCUMENT.write_text(document(), encoding="utf-8")
    sys.stdout.write(f"wrote {DOCUMENT}\n")


if __name__ == "__main__":
    main()
