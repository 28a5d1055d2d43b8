"""Files of requests: read, filled, changed."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.document import Change, apply, as_json, as_yaml, fill, read, variables_in
from jobs.errors import JobError


def written(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(request: dict[str, Any], *changes: str) -> dict[str, Any]:
    (result,) = apply([Change.from_string(change) for change in changes], [request])
    return result


def test_documents_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    """`---` separates requests; an empty document between them is none."""
    path = written(tmp_path, "ModelName: a\n---\n---\nEndpointConfigName: b\n")
    assert read(path) == [{"ModelName": "a"}, {"EndpointConfigName": "b"}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("TrainingJobName: [a\n", "job.yaml:2: no YAML"),
        ("TrainingJobName: a\nTags: []\nTrainingJobName: b\n", "the key 'TrainingJobName' is there twice"),
        ("- a\n- b\n", "document 1 is no request"),
        ("# nothing\n", "there is no request in this file"),
        ("TrainingJobName: !!python/object:os.system a\n", "job.yaml:1: no YAML"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    """What cannot be read says the file, the line where there is one, and what is wrong."""
    with pytest.raises(JobError) as caught:
        read(written(tmp_path, text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """The path and the reason."""
    with pytest.raises(JobError, match=r"cannot read .*/job\.yaml: No such file or directory"):
        read(tmp_path / "job.yaml")


def test_values_are_put_in_unparsed() -> None:
    """A value that looks like YAML, or like a variable, stays the string that it is."""
    values = {"A": "x: [1, 2]", "B": "${A}", "C": "3"}
    request = {"one": "${A}", "two": ["<${B}>", {"three": "${C}${C}"}], "four": 4, "five": "$A $${"}
    assert variables_in(request) == {"A", "B", "C"}
    assert fill(request, values.__getitem__) == {
        "one": "x: [1, 2]",
        "two": ["<${A}>", {"three": "33"}],
        "four": 4,
        "five": "$A $${",
    }


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ("HyperParameters.lr=0.01", ["HyperParameters", "lr"], "0.01"),
        ("HyperParameters.epochs=3", ["HyperParameters", "epochs"], "3"),
        ("HyperParameters.a.b=x=y", ["HyperParameters", "a.b"], "x=y"),
        ("HyperParameters.empty=", ["HyperParameters", "empty"], ""),
        ("Environment.LOG=1", ["Environment", "LOG"], "1"),
        ("ResourceConfig.InstanceCount=2", ["ResourceConfig", "InstanceCount"], 2),
        ("EnableManagedSpotTraining=true", ["EnableManagedSpotTraining"], True),
        ("TrainingJobName=007", ["TrainingJobName"], "007"),
        ("CheckpointConfig.S3Uri=s3://b/c", ["CheckpointConfig", "S3Uri"], "s3://b/c"),
        ("InputDataConfig.0.InputMode=FastFile", ["InputDataConfig", 0, "InputMode"], "FastFile"),
        ("InputDataConfig.train.InputMode=Pipe", ["InputDataConfig", 0, "InputMode"], "Pipe"),
        ("Tags=[{Key: a, Value: b}]", ["Tags"], [{"Key": "a", "Value": "b"}]),
        ("AlgorithmSpecification.MetricDefinitions.test:loss.Regex=(1)", None, "(1)"),
    ],
)
def test_a_change_is_read_by_the_fields_type(
    good_request: dict[str, Any], change: str, path: list[Any] | None, value: Any
) -> None:
    """Strings stay strings, numbers and booleans become such, and structures on the way are made."""
    place: Any = changed(good_request, change)
    for key in path or ["AlgorithmSpecification", "MetricDefinitions", 0, "Regex"]:
        place = place[key]
    assert place == value
    assert type(place) is type(value)


def test_a_change_leaves_the_request_it_was_made_from(good_request: dict[str, Any]) -> None:
    """Changes are made to a copy."""
    changed(good_request, "HyperParameters.epochs=9")
    assert good_request["HyperParameters"] == {"epochs": "2"}


def test_a_hyphen_and_an_underscore_name_one_hyperparameter(good_request: dict[str, Any]) -> None:
    """`batch_size` replaces `batch-size`: the program would refuse both together."""
    good_request["HyperParameters"] = {"batch-size": "32"}
    assert changed(good_request, "HyperParameters.batch_size=8")["HyperParameters"] == {"batch-size": "8"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("HyperParameters.lr", "expected PATH=VALUE"),
        ("=3", "expected PATH=VALUE"),
        ("HyperParameters.=3", "expected PATH=VALUE"),
        ("InputDataConfig.dev.InputMode=File", "no element 'dev' in the list; there are: train"),
        ("InputDataConfig.7.InputMode=File", "no element '7'"),
        ("TrainingJobName.x=1", "there is nothing below 'drydock-1'"),
        ("ResourceConfig.InstanceCount=[", "the value is no YAML"),
    ],
)
def test_a_change_that_leads_nowhere_is_one_line(
    good_request: dict[str, Any], change: str, words: str
) -> None:
    """The change itself and what is wrong with it."""
    with pytest.raises(JobError) as caught:
        changed(good_request, change)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"--set {change}:")


def test_a_change_finds_its_request_among_several(good_request: dict[str, Any]) -> None:
    """Of several requests the one that knows the first field is changed; where several do, it is refused."""
    requests = [{"ModelName": "m"}, good_request]
    model, job = apply([Change.from_string("HyperParameters.epochs=5")], requests)
    assert model == {"ModelName": "m"}
    assert job["HyperParameters"] == {"epochs": "5"}
    with pytest.raises(JobError, match="several of the requests have Tags"):
        apply([Change.from_string("Tags=[]")], requests)


def test_what_is_printed_can_be_read_again(good_request: dict[str, Any]) -> None:
    """YAML and JSON hold the same request, strings that look like numbers included."""
    good_request["HyperParameters"] = {"epochs": "2", "flag": "true", "text": "größe: {x}\n"}
    assert list(yaml.safe_load_all(as_yaml([good_request, {"ModelName": "m"}]))) == [
        good_request,
        {"ModelName": "m"},
    ]
    assert json.loads(as_json([good_request])) == good_request
