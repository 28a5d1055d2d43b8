"""JSON 1.1: what AWS's clients send and read, and AWS's errors for what they should not send."""

import datetime as dt
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from jobs.validation import service_model
from local_mode import protocol, server
from local_mode.errors import ServiceError
from local_mode.service import Service

JSON = "application/x-amz-json-1.1"


@pytest.fixture
def post(service: Service) -> Iterator[Callable[..., tuple[int, Mapping[str, str], bytes]]]:
    """Sends raw bytes over one connection: (body, headers) -> (status, headers, body)."""
    connection = http.client.HTTPConnection(service.endpoint.removeprefix("http://"), timeout=10)

    def send(
        body: bytes, *, method: str = "POST", path: str = "/", **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=sent)
        reply = connection.getresponse()
        return reply.status, dict(reply.headers), reply.read()

    yield send
    connection.close()


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (
            b"{",
            {"Content_Type": JSON, "X_Amz_Target": "SageMaker.ListTrainingJobs"},
            "SerializationException",
        ),
        (
            b"[]",
            {"Content_Type": JSON, "X_Amz_Target": "SageMaker.ListTrainingJobs"},
            "SerializationException",
        ),
        (
            b'{"MaxResults": NaN}',
            {"Content_Type": JSON, "X_Amz_Target": "SageMaker.ListTrainingJobs"},
            "SerializationException",
        ),
        (
            b'{"CreationTimeAfter": "when"}',
            {"Content_Type": JSON, "X_Amz_Target": "SageMaker.ListTrainingJobs"},
            "SerializationException",
        ),
        (
            b"[" * 100_000,
            {"Content_Type": JSON, "X_Amz_Target": "SageMaker.ListTrainingJobs"},
            "SerializationException",
        ),
        (
            b"{}",
            {"Content_Type": "text/plain", "X_Amz_Target": "SageMaker.ListTrainingJobs"},
            "UnknownOperation",
        ),
        (b"{}", {"X_Amz_Target": "SageMaker.ListTrainingJobs"}, "UnknownOperation"),
        (b"{}", {"Content_Type": JSON, "X_Amz_Target": "SageMaker.DoMagic"}, "UnknownOperation"),
        (b"{}", {"Content_Type": JSON, "X_Amz_Target": "SageMaker.CreateModel"}, "UnknownOperation"),
        (
            b"{}",
            {"Content_Type": JSON, "X_Amz_Target": "SageMaker.DescribeTrainingJob"},
            "ValidationException",
        ),
        (
            b'{"TrainingJobName": "a", "Colour": "red"}',
            {"Content_Type": JSON, "X_Amz_Target": "SageMaker.DescribeTrainingJob"},
            "ValidationException",
        ),
        (
            b'{"MaxResults": "many"}',
            {"Content_Type": JSON, "X_Amz_Target": "SageMaker.ListTrainingJobs"},
            "SerializationException",
        ),
        (
            b"{}",
            {"Content_Type": JSON, "X_Amz_Target": "Logs_20140328.GetLogEvents"},
            "InvalidParameterException",
        ),
        (b"{}", {"Content_Type": JSON, "X_Amz_Target": "DynamoDB_20120810.ListTables"}, "NotImplemented"),
    ],
)
def test_errors(
    post: Callable[..., tuple[int, Mapping[str, str], bytes]], body: bytes, headers: dict[str, str], code: str
) -> None:
    """Whatever is wrong is answered in JSON with AWS's code, a request id and no trace of our insides."""
    status, sent, reply = post(body, **headers)
    document = json.loads(reply)
    assert status in {400, 501}
    assert document["__type"].startswith(code)
    assert document["message"]
    assert sent["x-amzn-ErrorType"] == document["__type"]
    assert len(sent["x-amzn-RequestId"]) == 36
    assert b"Traceback" not in reply


def test_no_target(post: Callable[..., tuple[int, Mapping[str, str], bytes]]) -> None:
    """A call signed for SageMaker without a target says what is missing."""
    authorization = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/sagemaker/aws4_request, Signature=0"
    status, _, reply = post(b"{}", Content_Type=JSON, Authorization=authorization)
    assert (status, json.loads(reply)["__type"]) == (400, "UnknownOperationException")


def test_too_long(post: Callable[..., tuple[int, Mapping[str, str], bytes]]) -> None:
    """A request is not read without end."""
    status, _, reply = post(b" " * (17 << 20), Content_Type=JSON, X_Amz_Target="SageMaker.ListTrainingJobs")
    assert (status, json.loads(reply)["__type"]) == (413, "RequestEntityTooLargeException")


def test_a_bug_shows_its_id_only(
    service: Service,
    aws: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failure of ours is InternalFailure to the client; the trace is in the log, under the same id."""

    def broken(_service: Service, _request: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("secret detail")

    api = replace(server.SAGEMAKER, operations={"ListTrainingJobs": broken})
    monkeypatch.setattr(server, "SAGEMAKER", api)
    with pytest.raises(ClientError) as caught:
        aws("sagemaker").list_training_jobs()
    response = caught.value.response
    assert response["Error"]["Code"] == "InternalFailure"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 500
    request_id = response["ResponseMetadata"]["RequestId"]
    assert request_id in response["Error"]["Message"]
    assert "secret" not in str(response)
    [record] = [record for record in caplog.records if record.exc_info]
    assert request_id in record.getMessage()


def test_unknown_services_are_refused(service: Service, aws: Callable[[str], Any]) -> None:
    """A service that is not here says so by name, in the protocol that its client reads."""
    for name, operation in (("sqs", "list_queues"), ("lambda", "list_functions"), ("sns", "list_topics")):
        with pytest.raises(ClientError, match=f"does not serve '{name}'") as caught:
            getattr(aws(name), operation)()
        assert caught.value.response["Error"]["Code"] == "NotImplemented"


def test_runtime_is_refused(aws: Callable[[str], Any]) -> None:
    """InvokeEndpoint is signed as SageMaker, and refused as long as it is not emulated."""
    with pytest.raises(ClientError, match="not emulated"):
        aws("sagemaker-runtime").invoke_endpoint(EndpointName="e", Body=b"")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:4700"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_pages_of_others_are_refused(
    post: Callable[..., tuple[int, Mapping[str, str], bytes]], headers: dict[str, str]
) -> None:
    """A page in a browser, under a name that points here or across origins, gets nothing."""
    for path in ("/_drydock/health", "/"):
        status, _, reply = post(b"", method="GET", path=path, **headers)
        assert (status, b"Access Denied" in reply) == (403, True)


def test_names_of_this_machine(post: Callable[..., tuple[int, Mapping[str, str], bytes]]) -> None:
    """IP addresses and localhost are this machine's own names."""
    for host in ("127.0.0.1:4700", "localhost", "[::1]:4700", "172.18.0.1:4700", "b.localhost:1"):
        assert post(b"", method="GET", path="/_drydock/health", Host=host)[0] == 200


def test_values_are_read_as_boto3_takes_them() -> None:
    """Times, bytes and nulls of a request arrive as Python's own; unknown members stay to be named."""
    shape = service_model().operation_model("ListTrainingJobs").input_shape
    read = protocol.read(shape, {"CreationTimeAfter": 1.5, "MaxResults": 3, "NextToken": None, "Odd": 1})
    assert read == {
        "CreationTimeAfter": dt.datetime(1970, 1, 1, 0, 0, 1, 500_000, dt.UTC),
        "MaxResults": 3,
        "Odd": 1,
    }


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({"TrainingJobArn": "a", "Extra": 1}, "Extra"),
        ({}, "missing members"),
        ({"TrainingJobArn": 1}, "TrainingJobArn"),
        ({"TrainingJobArn": None}, "TrainingJobArn"),
    ],
)
def test_half_answers_do_not_leave(value: dict[str, Any], what: str) -> None:
    """A handler's value that does not fit the output shape is a bug, not a reply."""
    shape = service_model().operation_model("CreateTrainingJob").output_shape
    with pytest.raises((TypeError, ValueError), match=what):
        protocol.write(shape, value, "CreateTrainingJob")


def test_times_need_a_zone() -> None:
    """A time without a zone would be wrong on every machine but one."""
    shape = service_model().shape_for("Timestamp")
    moment = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    assert protocol.write(shape, moment, "t") == moment.timestamp()
    with pytest.raises(ValueError, match="time zone"):
        protocol.write(shape, moment.replace(tzinfo=None), "t")


def test_error_of_logs(aws: Callable[[str], Any]) -> None:
    """An error becomes the exception class that boto3 has for it."""
    logs = aws("logs")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.get_log_events(logGroupName="none", logStreamName="none")


def test_service_error_has_what_clients_read() -> None:
    """The error document carries code and message alone."""
    response = protocol.error_response(ServiceError("ResourceInUse", "taken"))
    assert json.loads(response.body if isinstance(response.body, bytes) else b"") == {
        "__type": "ResourceInUse",
        "message": "taken",
    }
