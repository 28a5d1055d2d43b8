"""A user's own script: packed, uploaded, and named in the request."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from botocore.stub import ANY

from jobs.errors import JobError
from jobs.order import Order
from jobs.source import Source
from jobs.variables import Variables
from tests.jobs.harness import REPOSITORY, StubbedAws

SCRIPT = REPOSITORY / "jobs" / "script.yaml"


def folder(path: Path) -> Path:
    (path / "package" / "__pycache__").mkdir(parents=True)
    (path / "train.py").write_text("print('hello')\n")
    (path / "package" / "module.py").write_text("")
    (path / "package" / "__pycache__" / "module.pyc").write_bytes(b"\0")
    (path / ".git").mkdir()
    (path / ".git" / "HEAD").write_text("ref")
    return path


def order(environment: dict[str, str]) -> Order:
    known = {"DATA": "s3://bucket/bins", "BUCKET": "artifacts"}
    variables = Variables(environment=known | environment, job_id="1", local=True)
    return Order(file=SCRIPT, changes=[], channels=[], variables=variables)


def test_the_archive_depends_on_content_only(tmp_path: Path) -> None:
    """Equal files make one address, whatever their times; a changed line makes another."""
    first, second = folder(tmp_path / "a"), folder(tmp_path / "b")
    os.utime(second / "train.py", (0, 0))
    address = Source(folder=first, bucket="bucket").address
    assert Source(folder=second, bucket="bucket").address == address
    (second / "train.py").write_text("print('other')\n")
    assert Source(folder=second, bucket="bucket").address != address


def test_the_archive_holds_the_code_and_no_caches(tmp_path: Path) -> None:
    """What is uploaded unpacks to the folder's files at its top, without caches and history."""
    source = Source(folder=folder(tmp_path), bucket="artifacts")
    uploaded: list[bytes] = []
    aws = StubbedAws()

    def see(params: dict[str, bytes], **_: object) -> None:
        uploaded.append(params["Body"])

    aws.clients.s3.meta.events.register("provide-client-params.s3.PutObject", see)
    aws.s3.add_response("put_object", {}, {"Bucket": "artifacts", "Key": source.key, "Body": ANY})
    source.upload(aws.clients.s3)
    aws.clients.s3.meta.events.unregister("provide-client-params.s3.PutObject", see)
    aws.close()
    with tarfile.open(fileobj=io.BytesIO(uploaded[0]), mode="r:gz") as tar:
        assert tar.getnames() == ["package/module.py", "train.py"]


def test_the_request_names_the_uploaded_source(tmp_path: Path) -> None:
    """`${SOURCE}` of a folder becomes the archive's address, and PROGRAM is train.py when it is not set."""
    filled = order({"SOURCE": str(folder(tmp_path))})
    assert filled.source is not None
    (request,) = filled.requests(lambda _: ())
    assert request["HyperParameters"] == {
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": f'"{filled.source.address}"',
        "epochs": "1",
    }


def test_an_archive_in_s3_is_taken_as_it_is() -> None:
    """SOURCE may be the address of an archive that is there already; nothing is packed then."""
    filled = order({"SOURCE": "s3://bucket/sourcedir.tar.gz", "PROGRAM": "fit.py"})
    assert filled.source is None
    (request,) = filled.requests(lambda _: ())
    assert request["HyperParameters"]["sagemaker_submit_directory"] == '"s3://bucket/sourcedir.tar.gz"'
    assert request["HyperParameters"]["sagemaker_program"] == '"fit.py"'


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "the variable SOURCE is not set: the folder with your script"),
        ({"SOURCE": "nowhere"}, "nowhere: no such folder"),
        ({"SOURCE": "jobs", "PROGRAM": "absent.py"}, "there is no absent.py in jobs"),
    ],
)
def test_what_is_missing_is_said(environment: dict[str, str], reason: str) -> None:
    """No SOURCE, no such folder and no such script are each one line."""
    with pytest.raises(JobError, match=reason):
        order(environment).requests(lambda _: ())
