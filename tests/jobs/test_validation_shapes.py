"""Every field of CreateTrainingJob against every constraint that botocore's model states of it."""

import copy
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import regex  # type: ignore[import-untyped]  # publishes no types
from botocore.model import ListShape, MapShape, Shape, StructureShape

from jobs.validation import RequestError, service_model, validate

OPERATION = "CreateTrainingJob"
ROOT = service_model().operation_model(OPERATION).input_shape
# Good values of the strings whose pattern is more than "some characters".
ARN = "arn:aws:sagemaker:eu-central-1:123456789012:"
HUB = "arn:aws:sagemaker:eu-central-1:aws:hub-content/hub"
EXAMPLES: Mapping[str, str] = {
    "RoleArn": "arn:aws:iam::123456789012:role/x",
    "S3Uri": "s3://bucket/x",
    "FileSystemId": "fs-0123456789",
    "HubDataSetArn": f"{HUB}/DataSet/x",
    "ServerlessJobBaseModelArn": f"{HUB}/Model/x",
    "SequenceLength": "8K",
    "TrainingPlanArn": f"{ARN}training-plan/x",
    "TrainingRepositoryCredentialsProviderArn": "arn:aws:lambda:eu-central-1:123456789012:function:x",
    "MlFlowResourceArn": f"{ARN}mlflow-tracking-server/x",
    "ModelPackageArn": f"{ARN}model-package/x",
    "ModelPackageGroupArn": f"{ARN}model-package-group/x",
    "MetricRegex": "(x)",
}
# What a field wants beside itself by the rules that no shape states; None takes a field away.
Changes = Mapping[tuple[str, ...], Any]
COMPANIONS: Mapping[str, Changes] = {
    "AlgorithmSpecification.AlgorithmName": {("AlgorithmSpecification", "TrainingImage"): None},
    "InputDataConfig[].DataSource.FileSystemDataSource": {
        ("InputDataConfig", "0", "DataSource", "S3DataSource"): None
    },
    "InputDataConfig[].DataSource.DatasetSource": {
        ("InputDataConfig", "0", "DataSource", "S3DataSource"): None
    },
    "ResourceConfig.InstanceGroups": {
        ("ResourceConfig", "InstanceType"): None,
        ("ResourceConfig", "InstanceCount"): None,
    },
    "ResourceConfig.InstancePreferences": {("ResourceConfig", "InstanceType"): None},
    "ResourceConfig.InstancePreferences[].InstanceCount": {("ResourceConfig", "InstanceCount"): None},
    "StoppingCondition.MaxWaitTimeInSeconds": {
        ("EnableManagedSpotTraining",): True,
        ("StoppingCondition", "MaxWaitTimeInSeconds"): 86_400,
    },
    "EnableManagedSpotTraining": {("EnableManagedSpotTraining",): False},
    "ProfilerConfig.ProfilingIntervalInMilliseconds": {
        ("ProfilerConfig", "ProfilingIntervalInMilliseconds"): 500
    },
}
# Replies have them, no request may.
NEVER = {"ResourceConfig.SelectedInstanceType", "ResourceConfig.SelectedInstanceCount"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """One field: its path as support.md writes it, the steps to it, and its shape."""

    path: str
    steps: tuple[str, ...]  # "0" is the first item of a list, "key" a key of a map
    shape: Shape


def places(shape: Shape, path: str = "", steps: tuple[str, ...] = ()) -> Iterator[Place]:
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            here = Place(path=f"{path}.{name}" if path else name, steps=(*steps, name), shape=member)
            yield here
            yield from places(member, here.path, here.steps)
    elif isinstance(shape, ListShape | MapShape):
        step, member = ("0", shape.member) if isinstance(shape, ListShape) else ("key", shape.value)
        here = Place(path=f"{path}[]" if step == "0" else f"{path}{{}}", steps=(*steps, step), shape=member)
        yield here
        yield from places(member, here.path, here.steps)


PLACES = [place for place in places(ROOT) if place.path not in NEVER]
by_path = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.path)


def minimal(shape: Shape) -> Any:
    """The smallest value that the shape takes."""
    if isinstance(shape, StructureShape):
        return {name: minimal(shape.members[name]) for name in shape.required_members}
    if isinstance(shape, ListShape):
        return [minimal(shape.member)] * shape.metadata.get("min", 0)
    if isinstance(shape, MapShape):
        return {}
    low = shape.metadata.get("min", 0)
    match shape.type_name:
        case "boolean":
            return True
        case "integer" | "long":
            return max(low, 1)
        case "string":
            enum = shape.metadata.get("enum")
            return enum[0] if enum else EXAMPLES.get(shape.name, "x" * max(low, 1))
    raise AssertionError(f"no example of the type {shape.type_name}")


@functools.cache
def base() -> dict[str, Any]:
    """The smallest request that AWS takes, with all on the way to every field."""
    request: dict[str, Any] = minimal(ROOT)
    request["AlgorithmSpecification"] = {"TrainingImage": "x", "TrainingInputMode": "File"}
    request["ResourceConfig"] = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    return request


def request_with(place: Place, value: Any = None) -> dict[str, Any]:
    """The base with a field (by default its smallest value), and whatever leads to it."""
    request = copy.deepcopy(base())
    if place.path.startswith("InputDataConfig"):
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/x"}}
        request["InputDataConfig"] = [{"ChannelName": "train", "DataSource": source}]
    for path, changes in COMPANIONS.items():
        if place.path == path or place.path.startswith((f"{path}.", f"{path}[", f"{path}{{")):
            for steps, new in changes.items():
                put(request, steps, new)
    if value is not None or get(request, place.steps) is None:
        put(request, place.steps, minimal(place.shape) if value is None else value)
    return request


def get(node: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        if isinstance(node, list):
            node = node[0] if node else None
        elif isinstance(node, dict):
            node = node.get(step)
    return node


def put(node: Any, steps: tuple[str, ...], value: Any) -> None:
    """Sets or, with None, removes; what is missing on the way is made by its shape."""
    shape: Shape = ROOT
    for step, following in zip(steps, (*steps[1:], None), strict=True):
        member = (
            shape.members[step]
            if isinstance(shape, StructureShape)
            else shape.member
            if isinstance(shape, ListShape)
            else shape.value
        )
        new = minimal(member) if following else value
        if isinstance(node, list):
            if not node:
                node.append(new)
            elif not following:
                node[0] = new
            node, shape = node[0], member
            continue
        if following:
            node = node.setdefault(step, new)
        elif value is None:
            node.pop(step, None)
        else:
            node[step] = value
        shape = member


def broken(place: Place) -> Iterator[tuple[str, Any]]:
    """For every constraint of a field its words and a value that breaks it."""
    shape, wrong_type = place.shape, object()
    match shape.type_name:
        case "structure" | "map":
            yield "Member must be a", [1]
        case "list" | "boolean" | "integer" | "long":
            yield "Member must be a", "x"
        case "string":
            yield "Member must be a string", 7
        case _:
            yield "Member must be", wrong_type
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    for bound, sizes, words in (
        (low, range((low or 0) - 1, -1, -1), "greater than or equal to"),
        (high, [(high or 0) + 1], "less than or equal to"),
    ):
        if bound is not None:
            for size in list(sizes)[:1]:
                yield words, sized(shape, size)
    if shape.type_name == "string":
        enum, pattern = shape.metadata.get("enum"), shape.metadata.get("pattern")
        if enum:
            yield "Member must satisfy enum value set", "no-such-value"
        if pattern:
            candidates = ("\n", "", "Ω!\n", "\0")
            bad = next((each for each in candidates if regex.fullmatch(pattern, each) is None), None)
            assert bad is not None or pattern == "[\\S\\s]*", f"nothing breaks {pattern}"
            if bad is not None:
                yield "Member must satisfy regular expression pattern", bad


def sized(shape: Shape, size: int) -> Any:
    """A value of a length, or a number."""
    if isinstance(shape, ListShape):
        return [minimal(shape.member) for _ in range(size)]
    if isinstance(shape, MapShape):
        return {f"k{number}": minimal(shape.value) for number in range(size)}
    return size if shape.type_name in {"integer", "long"} else "x" * size


@by_path
def test_the_smallest_value_of_each_field_passes(place: Place) -> None:
    """A request with any one field of the API at its smallest good value is taken."""
    validate(OPERATION, request_with(place))


@by_path
def test_a_value_that_breaks_one_constraint_is_refused(place: Place) -> None:
    """For each field and each of its constraints there is a value that is refused by just these words."""
    where = place.steps[-1]
    for words, value in broken(place):
        with pytest.raises(RequestError) as caught:
            validate(OPERATION, request_with(place, value))
        named = [message for message in caught.value.messages if words in message]
        assert named, (words, caught.value.messages)
        if where not in {"0", "key"}:
            assert any(where.lower() in message.lower() for message in named)


@by_path
def test_a_required_field_that_is_missing_is_named(place: Place) -> None:
    """What a structure requires is asked for by its path."""
    for field in place.shape.required_members if isinstance(place.shape, StructureShape) else ():
        request = request_with(place)
        structure = get(request, place.steps)
        del structure[field]
        name = field[:1].lower() + field[1:]
        with pytest.raises(RequestError, match=rf"Value null at '[^']*{name}'.*Member must not be null"):
            validate(OPERATION, request)


@by_path
def test_an_unknown_field_is_named(place: Place) -> None:
    """No structure, at any depth, takes a field that the API does not have."""
    if isinstance(place.shape, StructureShape):
        request = request_with(place)
        get(request, place.steps)["Surplus"] = 1
        with pytest.raises(RequestError, match="Unknown field 'Surplus'"):
            validate(OPERATION, request)


@pytest.mark.parametrize("path", sorted(NEVER))
def test_fields_of_replies_are_refused(path: str) -> None:
    """What DescribeTrainingJob alone says is no field of a request."""
    request = copy.deepcopy(base())
    field = path.rpartition(".")[2]
    request["ResourceConfig"][field] = "ml.m5.large" if field.endswith("Type") else 1
    with pytest.raises(RequestError, match="DescribeTrainingJob's reply only"):
        validate(OPERATION, request)
