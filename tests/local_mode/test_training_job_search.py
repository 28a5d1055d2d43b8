"""Search over training jobs: every operator on every type of property."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from local_mode.errors import ValidationException
from local_mode.service import Service
from local_mode.store import COMPLETED, FAILED, MetricValue, TrainingJobStore
from local_mode.training_jobs.search import OPERATIONS


def request(name: str, **parameters: str) -> dict[str, Any]:
    def channel(channel_name: str, uri: str) -> dict[str, Any]:
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
        return {"ChannelName": channel_name, "DataSource": source}

    return {
        "TrainingJobName": name,
        "RoleArn": "arn:aws:iam::000000000000:role/drydock",
        "HyperParameters": parameters,
        "InputDataConfig": [channel("train", f"s3://bucket/{name}"), channel("test", "s3://bucket/test")],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": len(name)},
        "EnableNetworkIsolation": name == "cat",
        "Tags": [{"Key": "team", "Value": "a b" if name == "cat" else "c"}],
    }


@pytest.fixture
def three_jobs(tmp_path: Path) -> Iterator[Service]:
    """Three jobs: `cat` and `horse` have ended, `ox` has not and has no metric."""
    store = TrainingJobStore(tmp_path / "jobs.sqlite")
    for name, parameters in (
        ("cat", {"lr": "0.5", "arch": "resnet"}),
        ("horse", {"lr": "1.7"}),
        ("ox", {"lr": "many"}),
    ):
        store.create(name=name, arn=f"arn:{name}", request=request(name, **parameters), message="Starting it")
    for name, value, status in (("cat", 0.75, COMPLETED), ("horse", 0.9, FAILED)):
        values = [MetricValue(name="test:accuracy", value=each, time=1) for each in (0.1, value)]
        store.add_metrics(name, values)
        store.end(name, status=status, secondary_status=status, message="ended")
    yield cast("Service", SimpleNamespace(jobs=SimpleNamespace(store=store)))
    store.close()


def search(three_jobs: Service, **more: Any) -> dict[str, Any]:
    return OPERATIONS["Search"](three_jobs, {"Resource": "TrainingJob", "SortBy": "TrainingJobName", **more})


def names(reply: Mapping[str, Any]) -> str:
    return " ".join(result["TrainingJob"]["TrainingJobName"] for result in reply["Results"])


def filters(*parts: tuple[str, ...]) -> list[dict[str, str]]:
    return [dict(zip(("Name", "Operator", "Value"), part, strict=False)) for part in parts]


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        (("TrainingJobName", "Equals", "cat"), "cat"),
        (("TrainingJobName", "NotEquals", "cat"), "horse ox"),
        (("TrainingJobName", "Contains", "o"), "horse ox"),
        (("TrainingJobName", "In", "ox, cat,cow"), "cat ox"),
        (("TrainingJobStatus", "Equals", "Completed"), "cat"),
        (("TrainingEndTime", "Exists"), "cat horse"),
        (("TrainingEndTime", "NotExists"), "ox"),
        (("CreationTime", "GreaterThan", "2020-01-01T00:00:00"), "cat horse ox"),
        (("CreationTime", "LessThan", "2020-01-01T00:00:00"), ""),
        (("ResourceConfig.VolumeSizeInGB", "GreaterThanOrEqualTo", "3"), "cat horse"),
        (("ResourceConfig.VolumeSizeInGB", "LessThan", "3.5"), "cat ox"),
        (("ResourceConfig.VolumeSizeInGB", "Equals", "2"), "ox"),
        (("EnableNetworkIsolation", "Equals", "true"), "cat"),
        (("Metrics.test:accuracy", "GreaterThan", "0.8"), "horse"),
        (("Metrics.test:accuracy", "LessThanOrEqualTo", "0.9"), "cat horse"),
        (("Metrics.test:accuracy", "NotExists"), "ox"),
        (("HyperParameters.lr", "LessThan", "1.6"), "cat"),
        (("HyperParameters.lr", "GreaterThan", "1"), ""),
        (("HyperParameters.lr", "GreaterThanOrEqualTo", "1"), "horse"),
        (("HyperParameters.lr", "Equals", "many"), "ox"),
        (("HyperParameters.arch", "Exists"), "cat"),
        (("HyperParameters.arch", "Contains", "res"), "cat"),
        (("Tags.team", "Equals", "a b"), "cat"),
        (("Tags.none", "Exists"), ""),
        (("InputDataConfig.ChannelName", "Equals", "test"), "cat horse ox"),
        (("InputDataConfig.DataSource.S3DataSource.S3Uri", "Contains", "/horse"), "horse"),
        (("InputDataConfig", "Exists"), "cat horse ox"),
    ],
)
def test_a_filter(three_jobs: Service, filter_: tuple[str, ...], found: str) -> None:
    """Each operator does on each type of property what the API reference says."""
    reply = search(three_jobs, SearchExpression={"Filters": filters(filter_)}, SortOrder="Ascending")
    assert names(reply) == found
    assert reply["TotalHits"] == {"Value": len(found.split()), "Relation": "EqualTo"}


CAT, OX = filters(("TrainingJobName", "Equals", "cat")), filters(("TrainingJobName", "Equals", "ox"))


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ({"Filters": [*CAT, *OX]}, ""),
        ({"Filters": [*CAT, *OX], "Operator": "Or"}, "cat ox"),
        ({"SubExpressions": [{"Filters": CAT}, {"Filters": OX}], "Operator": "Or"}, "cat ox"),
        ({"SubExpressions": [{"Filters": [*CAT, *OX], "Operator": "Or"}], "Filters": OX}, "ox"),
        ({"Filters": [{"Name": "TrainingJobName", "Value": "cat"}]}, "cat"),
    ],
)
def test_an_expression(three_jobs: Service, expression: dict[str, Any], found: str) -> None:
    """And by default, Or where it is said, at every depth; no operator is Equals."""
    assert names(search(three_jobs, SearchExpression=expression, SortOrder="Ascending")) == found


def test_a_nested_filter_is_about_one_object(three_jobs: Service) -> None:
    """One channel must satisfy all filters: a channel of that name here and that place there is no match."""
    uri = "InputDataConfig.DataSource.S3DataSource.S3Uri"
    apart = filters(("InputDataConfig.ChannelName", "Equals", "test"), (uri, "Contains", "/cat"))
    nested = {"NestedPropertyName": "InputDataConfig", "Filters": apart}
    assert names(search(three_jobs, SearchExpression={"Filters": apart})) == "cat"
    assert names(search(three_jobs, SearchExpression={"NestedFilters": [nested]})) == ""
    together = filters(("InputDataConfig.ChannelName", "Equals", "train"), (uri, "Contains", "/cat"))
    nested["Filters"] = together
    assert names(search(three_jobs, SearchExpression={"NestedFilters": [nested]})) == "cat"


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"SortOrder": "Ascending"}, "cat horse ox"),
        ({}, "ox horse cat"),
        ({"SortBy": "Metrics.test:accuracy"}, "horse cat ox"),
        ({"SortBy": "Metrics.test:accuracy", "SortOrder": "Ascending"}, "cat horse ox"),
        ({"SortBy": "HyperParameters.arch"}, "cat horse ox"),
        ({"SortBy": "CreationTime", "SortOrder": "Ascending"}, "cat horse ox"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_join_to_the_whole(three_jobs: Service, more: dict[str, Any], found: str, size: int) -> None:
    """Sorted by any property, what lacks it last, pages of any size give every job once."""
    seen: list[str] = []
    token: dict[str, str] = {}
    for _ in range(5):
        reply = search(three_jobs, MaxResults=size, **more, **token)
        seen.append(names(reply))
        if "NextToken" not in reply:
            break
        token = {"NextToken": reply["NextToken"]}
    assert " ".join(seen) == found


def test_a_record_is_a_whole_job(three_jobs: Service) -> None:
    """A result has the job's request and state as Describe has them, and its tags."""
    expression = {"Filters": CAT}
    ((result),) = search(three_jobs, SearchExpression=expression)["Results"]
    record = result["TrainingJob"]
    assert record["Tags"] == [{"Key": "team", "Value": "a b"}]
    assert record["HyperParameters"] == {"lr": "0.5", "arch": "resnet"}
    assert record["TrainingJobStatus"] == "Completed"
    assert [metric["Value"] for metric in record["FinalMetricDataList"]] == [0.75]


def one(*part: str) -> dict[str, Any]:
    return {"SearchExpression": {"Filters": filters(part)}}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (one("Colour", "Equals", "red"), "a TrainingJob has no property 'Colour'"),
        (one("InputDataConfig.Colour", "Equals", "red"), "no property 'InputDataConfig.Colour'"),
        (one("TrainingJobName.x", "Exists"), "no property 'TrainingJobName.x'"),
        (one("Metrics.", "Exists"), "no property 'Metrics.'"),
        (one("TrainingJobName", "GreaterThan", "a"), "GreaterThan is not supported for TrainingJobName"),
        (one("CreationTime", "Contains", "2020"), "Contains is not supported for CreationTime"),
        (one("CreationTime", "Equals", "soon"), "'soon' of CreationTime must be an ISO 8601 time"),
        (one("Metrics.loss", "LessThan", "low"), "'low' of Metrics.loss must be a number"),
        (one("HyperParameters.lr", "LessThan", "low"), "the Value 'low' is no number"),
        (one("TrainingJobName", "Equals"), "Equals of TrainingJobName needs a Value"),
        (one("InputDataConfig", "Equals", "x"), "it is no single value"),
        ({"SortBy": "InputDataConfig"}, "SortBy InputDataConfig is no single value"),
        ({"SearchExpression": {}}, "must have at least one of"),
        ({"SearchExpression": {"Operator": "Or"}}, "must have at least one of"),
        (
            {"SearchExpression": {"Filters": filters(("TrainingJobName", "Contains", "a")) * 2}},
            "'CONTAINS' operator usage limit of 1 exceeded",
        ),
        (
            {"SearchExpression": {"SubExpressions": [{"Filters": CAT * 20}] * 3}},
            "has 63 parts, of at most 50",
        ),
        (
            {"SearchExpression": {"NestedFilters": [{"NestedPropertyName": "RoleArn", "Filters": CAT}]}},
            "NestedPropertyName RoleArn is no list of objects",
        ),
        (
            {"SearchExpression": {"NestedFilters": [{"NestedPropertyName": "Tags", "Filters": CAT}]}},
            "TrainingJobName is no property below Tags",
        ),
        ({"NextToken": "x"}, "none of the tokens that Search gave"),
        ({"NextToken": "bnVsbA=="}, "none of the tokens that Search gave"),
    ],
)
def test_what_means_nothing_is_refused(three_jobs: Service, more: dict[str, Any], words: str) -> None:
    """An unknown property, an operator that does not fit its type and a value that is none are named."""
    with pytest.raises(ValidationException) as caught:
        search(three_jobs, **more)
    assert words in str(caught.value)
