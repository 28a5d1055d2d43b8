"""A file of API requests: read, filled from variables, changed from the command line.

A document is the request itself, in YAML, with `${NAME}` where something differs from run to run. Several
documents, `---` between them, are sent in order. Everything here is pure: what comes out is what AWS's own
clients take (`aws sagemaker create-training-job --cli-input-yaml`).
"""

import copy
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from botocore.model import ListShape, MapShape, Shape, StructureShape

from jobs.errors import JobError
from jobs.validation import RequestError, operation_of, service_model, validate

Request = dict[str, Any]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# The fields that name an element of a list, for a path like InputDataConfig.train.InputMode.
_NAME_FIELDS = ("ChannelName", "Name", "Key", "RuleConfigurationName", "InstanceGroupName", "VariantName")


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, which YAML forbids and PyYAML passes over."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        keys = [key.value for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            problem = f"the key {twice!r} is there twice"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return mapping


def read(path: Path) -> list[Request]:
    """The documents of a file, not filled yet. Raises `JobError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        documents = [document for document in yaml.load_all(text, _Loader) if document is not None]
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise JobError(f"{where}: no YAML: {' '.join(problem.split())}") from error
    if not documents:
        raise JobError(f"{path}: there is no request in this file")
    for number, document in enumerate(documents, start=1):
        if not isinstance(document, dict) or not all(isinstance(field, str) for field in document):
            raise JobError(
                f"{path}: document {number} is no request: expected fields like `TrainingJobName: ...`"
            )
    return documents


def variables_in(value: Any) -> set[str]:
    """The names of all variables of a document."""
    if isinstance(value, str):
        return set(_VARIABLE.findall(value))
    if isinstance(value, dict):
        return set().union(*(variables_in(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(variables_in(item) for item in value))
    return set()


def fill(value: Any, variable: Callable[[str], str]) -> Any:
    """A copy of a document with `variable(NAME)` for each `${NAME}`; values are not parsed."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: variable(found[1]), value)
    if isinstance(value, dict):
        return {key: fill(item, variable) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, variable) for item in value]
    return value


@dataclass(frozen=True, kw_only=True)
class Change:
    """`PATH=VALUE` of the command line: `HyperParameters.lr=0.01`, `InputDataConfig.train.InputMode=File`."""

    path: tuple[str, ...]
    value: str

    @classmethod
    def from_string(cls, text: str) -> "Change":
        """Parse `PATH=VALUE`. Raises `JobError`."""
        path, equals, value = text.partition("=")
        parts = tuple(path.split("."))
        if not equals or not all(parts):
            raise JobError(f"--set {text}: expected PATH=VALUE, like HyperParameters.lr=0.01")
        return cls(path=parts, value=value)

    def __str__(self) -> str:
        return f"--set {'.'.join(self.path)}={self.value}"


def apply(changes: Sequence[Change], requests: Sequence[Request]) -> list[Request]:
    """Copies of the requests with the changes made. Raises `JobError` where a path leads nowhere.

    Values are read by the type of the field in the API, so hyperparameters are strings and counts
    numbers. With several requests, a change is made to the one that knows the path's first field.
    """
    changed = copy.deepcopy(list(requests))
    shapes = [_input_shape(request) for request in changed]
    for change in changes:
        places = [place for place, shape in enumerate(shapes) if change.path[0] in shape.members]
        if len(places) > 1:
            raise JobError(f"{change}: several of the requests have {change.path[0]}; write it in the file")
        # Where no request knows the field, validation says so, and names the nearest one.
        place = places[0] if places else 0
        _set(changed[place], shapes[place], change, change.path)
    return changed


def _input_shape(request: Request) -> StructureShape:
    return service_model().operation_model(operation_of(request)).input_shape


def _set(container: Any, shape: Shape | None, change: Change, path: Sequence[str]) -> None:
    """Set `path` below `container`, making the structures on the way that are not there."""
    name, rest = path[0], path[1:]
    if isinstance(container, list):
        key: Any = _position(container, name, change)
        member = shape.member if isinstance(shape, ListShape) else None
    elif isinstance(container, dict):
        if isinstance(shape, MapShape):  # its keys may hold dots
            name, rest = ".".join(path), ()
            name = next((known for known in container if _folded(known) == _folded(name)), name)
            member = shape.value
        else:
            member = shape.members.get(name) if isinstance(shape, StructureShape) else None
        key = name
    else:
        raise JobError(f"{change}: there is nothing below {container!r}")
    if not rest:
        container[key] = _parsed(change, member)
        return
    if isinstance(container, dict) and container.get(key) is None:
        container[key] = [] if isinstance(member, ListShape) else {}
    _set(container[key], member, change, rest)


def _folded(key: Any) -> str:
    # A hyphen and an underscore mean the same in our hyperparameters, so batch_size replaces batch-size.
    return str(key).replace("_", "-")


def _position(items: list[Any], name: str, change: Change) -> int:
    """The place of an element, by its number from 0 or by its name."""
    names = [
        next((str(item[field]) for field in _NAME_FIELDS if field in item), "")
        if isinstance(item, dict)
        else ""
        for item in items
    ]
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(items):
        return int(name)
    known = ", ".join(filter(None, names)) or f"{len(items)} without names"
    raise JobError(f"{change}: no element {name!r} in the list; there are: {known}")


def _parsed(change: Change, shape: Shape | None) -> Any:
    if shape is not None and shape.type_name == "string":
        return change.value
    try:
        return yaml.safe_load(change.value)
    except yaml.YAMLError as error:
        raise JobError(f"{change}: the value is no YAML") from error


def check(requests: Sequence[Request], *, allow_file_uris: bool) -> list[str]:
    """The operation of each request, all of them valid. Raises `JobError` with every violation on a line."""
    operations = []
    for request in requests:
        try:
            operation = operation_of(request)
            validate(operation, request, allow_file_uris=allow_file_uris)
        except RequestError as error:
            raise JobError("\n".join(error.messages)) from error
        operations.append(operation)
    return operations


def as_yaml(requests: Sequence[Mapping[str, Any]]) -> str:
    """What `--cli-input-yaml` of the aws CLI 2 takes."""
    documents = [
        yaml.safe_dump(request, sort_keys=False, allow_unicode=True, width=1000) for request in requests
    ]
    return "---\n".join(documents)


def as_json(requests: Sequence[Mapping[str, Any]]) -> str:
    """What `--cli-input-json` of the aws CLI takes; several requests one after the other."""
    return "".join(
        json.dumps(request, indent=2, ensure_ascii=False, default=str) + "\n" for request in requests
    )
