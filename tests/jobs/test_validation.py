"""Requests against the rules of the API."""

from collections.abc import Callable
from typing import Any

import pytest

from jobs.validation import RequestError, operation_of, service_model, validate

Request = dict[str, Any]


def refused(request: Request, *, operation: str = "CreateTrainingJob", **options: bool) -> tuple[str, ...]:
    with pytest.raises(RequestError) as caught:
        validate(operation, request, **options)
    return caught.value.messages


def test_a_good_request_passes(good_request: Request) -> None:
    """What AWS takes, we take."""
    validate("CreateTrainingJob", good_request)


def set_name(value: Any) -> Callable[[Request], None]:
    return lambda request: request.update(TrainingJobName=value)


def set_in(*path: Any, to: Any) -> Callable[[Request], None]:
    def change(request: Request) -> None:
        place: Any = request
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "what", "rule"),
    [
        (
            set_name("under_score"),
            "Value 'under_score' at 'trainingJobName'",
            "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
        (
            set_in("AlgorithmSpecification", "TrainingInputMode", to="Fil"),
            "Value 'Fil' at 'algorithmSpecification.trainingInputMode'",
            "Member must satisfy enum value set: [Pipe, File, FastFile]; did you mean 'File'?",
        ),
        (
            lambda request: request.pop("RoleArn"),
            "Value null at 'roleArn'",
            "Member must not be null",
        ),
        (
            lambda request: request.pop("ResourceConfig"),
            "Value null at 'resourceConfig'",
            "Member must not be null",
        ),
        (
            set_in("RoleArn", to=None),
            "Value null at 'roleArn'",
            "Member must not be null",
        ),
        (
            set_in("Hyperparameters", to={}),
            "Unknown field 'Hyperparameters'; did you mean 'HyperParameters'?",
            "",
        ),
        (
            set_in("StoppingCondition", "MaxRuntime", to=60),
            "Unknown field 'MaxRuntime' at 'stoppingCondition'; did you mean 'MaxRuntimeInSeconds'?",
            "",
        ),
        (
            set_in("HyperParameters", "epochs", to=2),
            "Value '2' at 'hyperParameters.epochs'",
            'Member must be a string (in YAML, quotes make one: "2")',
        ),
        (
            set_in("HyperParameters", "k" * 257, to="v"),
            f"Value '{'k' * 120}...' at 'hyperParameters'",
            "Map keys must satisfy constraint: [Member must have length less than or equal to 256]",
        ),
        (
            set_in("HyperParameters", "note", to="v" * 2501),
            f"Value '{'v' * 120}...' at 'hyperParameters.note'",
            "Map value must satisfy constraint: [Member must have length less than or equal to 2500]",
        ),
        (
            set_in("ResourceConfig", "InstanceCount", to=True),
            "Value 'true' at 'resourceConfig.instanceCount'",
            "Member must be an integer",
        ),
        (
            set_in("ResourceConfig", "VolumeSizeInGB", to=0),
            "Value '0' at 'resourceConfig.volumeSizeInGB'",
            "Member must have value greater than or equal to 1",
        ),
        (
            set_in("ResourceConfig", "KeepAlivePeriodInSeconds", to=21601),
            "Value '21601' at 'resourceConfig.keepAlivePeriodInSeconds'",
            "Member must have value less than or equal to 21600",
        ),
        (
            set_in("EnableNetworkIsolation", to="yes"),
            "Value 'yes' at 'enableNetworkIsolation'",
            "Member must be a boolean",
        ),
        (
            set_in("Environment", to={"1ST": "x"}),
            "Value '1ST' at 'environment'",
            (
                "Map keys must satisfy constraint: "
                "[Member must satisfy regular expression pattern: [a-zA-Z_][a-zA-Z0-9_]*]"
            ),
        ),
        (
            set_in("AlgorithmSpecification", "MetricDefinitions", 0, "Regex", to="loss: (["),
            "Value 'loss: ([' at 'algorithmSpecification.metricDefinitions.1.member.regex'",
            "Member must be a valid regular expression: unterminated character set at position 8",
        ),
        (
            set_in("AlgorithmSpecification", "MetricDefinitions", 0, "Regex", to="loss"),
            "Value 'loss' at 'algorithmSpecification.metricDefinitions.1.member.regex'",
            "Member must have a capture group, which holds the metric's value",
        ),
        (
            set_in("AlgorithmSpecification", "AlgorithmName", to="mine"),
            "Value at 'algorithmSpecification'",
            "exactly one of TrainingImage, AlgorithmName must be given, not TrainingImage and AlgorithmName",
        ),
        (
            set_in("InputDataConfig", 0, "DataSource", to={}),
            "Value at 'inputDataConfig.1.member.dataSource'",
            "exactly one of S3DataSource, FileSystemDataSource, DatasetSource must be given, not none",
        ),
        (
            set_in("EnableManagedSpotTraining", to=True),
            "Value null at 'stoppingCondition.maxWaitTimeInSeconds'",
            "Member must be present when EnableManagedSpotTraining is true",
        ),
        (
            set_in("Tags", to=[{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]),
            "Value 'a' at 'tags'",
            "Key must be unique within the list",
        ),
    ],
)
def test_one_violation_is_one_sentence_in_awss_words(
    good_request: Request, change: Callable[[Request], Any], what: str, rule: str
) -> None:
    """Each kind of violation names the field's path, its value and the rule, and nothing else is said."""
    change(good_request)
    assert refused(good_request) == (f"{what} failed to satisfy constraint: {rule}" if rule else what,)


def test_all_violations_are_said_at_once(good_request: Request) -> None:
    """Three mistakes are three messages, under AWS's own heading."""
    good_request.update(TrainingJobName="a_b", Foo=1)
    del good_request["OutputDataConfig"]
    with pytest.raises(RequestError) as caught:
        validate("CreateTrainingJob", good_request)
    assert len(caught.value.messages) == 3
    assert str(caught.value).startswith("3 validation errors detected: Value null at 'outputDataConfig' ")


def test_the_code_is_aws_s(good_request: Request) -> None:
    """A value of another type cannot even be read; every other mistake is one of validation."""
    good_request["TrainingJobName"] = "a_b"
    with pytest.raises(RequestError) as caught:
        validate("CreateTrainingJob", good_request)
    assert caught.value.code == "ValidationException"
    good_request["ResourceConfig"]["InstanceCount"] = "1"
    with pytest.raises(RequestError) as caught:
        validate("CreateTrainingJob", good_request)
    assert (caught.value.code, len(caught.value.messages)) == ("SerializationException", 2)


def test_a_name_of_64_characters_is_too_long(good_request: Request) -> None:
    """Length is checked beside the pattern, at AWS's 63."""
    good_request["TrainingJobName"] = "a" * 63
    validate("CreateTrainingJob", good_request)
    good_request["TrainingJobName"] = "a" * 64
    assert any("length less than or equal to 63" in message for message in refused(good_request))


def test_a_pattern_must_match_the_whole_value(good_request: Request) -> None:
    """A good beginning, or a line break at the end, is not enough: AWS anchors its patterns."""
    for name in ("good name", "good\n", " good"):
        good_request["TrainingJobName"] = name
        assert len(refused(good_request)) == 1


def test_tags_may_be_in_any_script(good_request: Request) -> None:
    """Patterns with Unicode classes know letters beyond ASCII, and patterns without do not."""
    good_request["Tags"] = [{"Key": "größe", "Value": "東京"}]
    validate("CreateTrainingJob", good_request)
    good_request["RoleArn"] = "arn:aws:iam::١٢٣٤٥٦٧٨٩٠١٢:role/x"
    assert "regular expression pattern" in refused(good_request)[0]


def test_file_addresses_need_the_local_service(good_request: Request) -> None:
    """`file://` is refused with advice, unless it is allowed, and then it must be absolute."""
    source = good_request["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    source["S3Uri"] = "file:///home/me/images"
    (message,) = refused(good_request)
    assert "copy them to a bucket" in message
    validate("CreateTrainingJob", good_request, allow_file_uris=True)
    source["S3Uri"] = "file://images"
    assert "absolute path" in refused(good_request, allow_file_uris=True)[0]
    source["S3Uri"] = "ftp://bucket/x"
    assert "regular expression pattern" in refused(good_request, allow_file_uris=True)[0]


def test_more_than_forty_metrics_are_refused(good_request: Request) -> None:
    """The 41st MetricDefinition is one too many."""
    definitions = [{"Name": f"m{number}", "Regex": "(x)"} for number in range(41)]
    good_request["AlgorithmSpecification"]["MetricDefinitions"] = definitions
    assert "length less than or equal to 40" in refused(good_request)[0]


def test_two_channels_of_one_name_are_refused(good_request: Request) -> None:
    """A channel's name is a folder in the container, so it must be unique."""
    good_request["InputDataConfig"] *= 2
    assert refused(good_request) == (
        (
            "Value 'train' at 'inputDataConfig' failed to satisfy constraint: "
            "ChannelName must be unique within the list"
        ),
    )


@pytest.mark.parametrize(
    ("wait", "spot", "words"),
    [
        (3599, True, "greater than or equal to MaxRuntimeInSeconds (3600)"),
        (3600, True, None),
        (3600, False, "only when EnableManagedSpotTraining is true"),
    ],
)
def test_spot_waits_at_least_as_long_as_it_runs(
    good_request: Request, wait: int, *, spot: bool, words: str | None
) -> None:
    """MaxWaitTimeInSeconds belongs to spot and covers MaxRuntimeInSeconds."""
    good_request["EnableManagedSpotTraining"] = spot
    good_request["StoppingCondition"]["MaxWaitTimeInSeconds"] = wait
    if words is None:
        validate("CreateTrainingJob", good_request)
    else:
        (message,) = refused(good_request)
        assert words in message


def test_a_long_enum_lists_what_is_near(good_request: Request) -> None:
    """Of 200 instance types a message names a few near ones and the nearest."""
    good_request["ResourceConfig"]["InstanceType"] = "ml.m5.xlarg"
    (message,) = refused(good_request)
    assert message.endswith("in all)]; did you mean 'ml.m5.xlarge'?")
    assert len(message) < 400


@pytest.mark.parametrize(
    ("fields", "operation"),
    [
        ({"TrainingJobName"}, "CreateTrainingJob"),
        ({"HyperParameterTuningJobName"}, "CreateHyperParameterTuningJob"),
        ({"ModelName"}, "CreateModel"),
        ({"EndpointConfigName"}, "CreateEndpointConfig"),
        ({"EndpointName", "EndpointConfigName"}, "CreateEndpoint"),
        ({"TransformJobName", "ModelName"}, "CreateTransformJob"),
        ({"ProcessingJobName"}, "CreateProcessingJob"),
    ],
)
def test_the_name_field_gives_the_operation(fields: set[str], operation: str) -> None:
    """A request's own name field says what it makes, also where it names another resource beside."""
    assert operation_of(dict.fromkeys(fields, "x")) == operation


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"TrainingJobNam": "x"}, "did you mean 'TrainingJobName'?"),
        ({}, "one of these must be there: TrainingJobName,"),
        ({"TrainingJobName": "x", "EndpointName": "y"}, "no single operation takes"),
    ],
)
def test_a_request_for_nothing_or_for_two_things_is_refused(request_: Request, words: str) -> None:
    """Where no operation follows from the name fields, the message says which fields there could be."""
    with pytest.raises(RequestError, match=words.replace("?", r"\?")):
        operation_of(request_)


def test_an_unknown_operation_is_refused() -> None:
    """The nearest operation of the API is named."""
    assert refused({}, operation="CreateTrainingJobs") == (
        "Unknown operation 'CreateTrainingJobs'; did you mean 'CreateTrainingJob'?",
    )


def test_every_pattern_of_the_model_can_be_used() -> None:
    """All patterns, written for Java, compile: each is applied to a value somewhere in the model."""
    model = service_model()
    strings = [model.shape_for(name) for name in model.shape_names]
    patterned = [shape for shape in strings if "pattern" in shape.metadata]
    assert len(patterned) > 400
    for operation in model.operation_names:
        if operation.startswith("List"):
            shape = model.operation_model(operation).input_shape
            fields = [field for field, member in shape.members.items() if member.type_name == "string"]
            with pytest.raises(RequestError):
                validate(operation, {**dict.fromkeys(fields, "\0"), "Unknown": 1})
