"""The service as a process: start, stop, kill, restart, and what it refuses to start on."""

import json
import random
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from local_mode.s3.store import ObjectStore
from local_mode.service import Service
from tests.local_mode.harness import REPOSITORY, RunningService, run_command

Start = Callable[..., RunningService]


def health(endpoint: str) -> dict[str, Any]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{endpoint}/_drydock/health") as reply:
        document: dict[str, Any] = json.load(reply)
    return document


def test_ready_means_ready(services: Start, tmp_path: Path) -> None:
    """The line is printed once it answers, and the health document says the same."""
    service = services(tmp_path)
    document = health(service.endpoint)
    assert (document["status"], document["endpoint"]) == ("ready", service.endpoint)
    assert (document["engine"], document["home"]) == ("process", str(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_clean_stop(services: Start, tmp_path: Path, number: int) -> None:
    """SIGTERM and SIGINT end it with 0, without a word, and the port and the home are free again."""
    service = services(tmp_path)
    assert service.stop(number) == (0, "")
    assert services(tmp_path, "--port", str(service.port)).port == service.port


def test_all_survives_a_stop(services: Start, tmp_path: Path) -> None:
    """Buckets, objects, attributes and uploads under way are there after a restart."""
    first = services(tmp_path)
    s3 = first.client("s3")
    s3.create_bucket(Bucket="kept")
    put = s3.put_object(Bucket="kept", Key="k", Body=b"hello", Metadata={"a": "b"})
    upload = s3.create_multipart_upload(Bucket="kept", Key="parts")["UploadId"]
    part = s3.upload_part(Bucket="kept", Key="parts", UploadId=upload, PartNumber=1, Body=b"part")
    first.stop()
    s3 = services(tmp_path).client("s3")
    got = s3.get_object(Bucket="kept", Key="k")
    assert (got["Body"].read(), got["Metadata"], got["ETag"]) == (b"hello", {"a": "b"}, put["ETag"])
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    s3.complete_multipart_upload(
        Bucket="kept", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    assert s3.get_object(Bucket="kept", Key="parts")["Body"].read() == b"part"


@pytest.mark.slow
def test_kill_leaves_old_or_new(services: Start, tmp_path: Path) -> None:
    """After a kill -9 in the middle of writes an object is whole: the last one confirmed, or the next."""
    dice = random.Random(7)
    bodies = {version: bytes([version]) * dice.randint(100_000, 3_000_000) for version in range(1, 200)}
    version = 0
    for round_number in range(4):
        service = services(tmp_path)
        s3 = service.client("s3")
        s3.create_bucket(Bucket="kill")
        if round_number:
            # What was confirmed is there; at most the one that was under way is newer.
            body = s3.get_object(Bucket="kill", Key="k")["Body"].read()
            assert body in {bodies[version], bodies[version + 1]}
            version = body[0]
        s3.put_object(Bucket="kill", Key="k", Body=bodies[version + 1])
        version += 1
        killer = threading.Timer(dice.uniform(0.2, 0.6), service.process.kill)
        killer.start()
        try:
            while True:
                s3.put_object(Bucket="kill", Key="k", Body=bodies[version + 1])
                version += 1
        except (ClientError, BotoCoreError):
            assert service.process.wait(10) == -signal.SIGKILL
        killer.join()
        service.close()
    store = ObjectStore(tmp_path / "s3")
    stored = store.get("kill", "k")
    assert stored.path.read_bytes() in {bodies[version], bodies[version + 1]}
    files = [path for path in (tmp_path / "s3").glob("*/**/*") if path.is_file()]
    assert files == [stored.path], "a restart removes what a kill left behind"
    store.close()


def test_home_has_one_service(services: Start, tmp_path: Path) -> None:
    """A second service on one home is told so in one line, and the first goes on."""
    first = services(tmp_path)
    second = run_command("up", "--home", tmp_path, "--port", "0", "--engine", "process")
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.count("\n") == 1
    assert "in use by another service" in second.stderr
    assert health(first.endpoint)["status"] == "ready"


def test_port_in_use(tmp_path: Path) -> None:
    """A port that is taken is one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run_command("up", "--home", tmp_path, "--port", port, "--engine", "process")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in ended.stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [(("--engine", "magic"), "magic"), (("--port", "99999"), "99999"), (("--port", "x"), "'x'")],
)
def test_bad_options(tmp_path: Path, options: tuple[str, ...], named: str) -> None:
    """An option that is wrong is named, and nothing is made."""
    ended = run_command("up", "--home", tmp_path / "home", *options)
    assert ended.returncode == 2
    assert named in ended.stderr.splitlines()[-1]
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("where", ["a file", "read-only"])
def test_unusable_home(tmp_path: Path, where: str) -> None:
    """A home that cannot be written to is one line that says why."""
    if where == "a file":
        home = tmp_path / "file"
        home.write_text("")
    else:
        home = Path("/proc/drydock")
    ended = run_command("up", "--home", home, "--port", "0", "--engine", "process")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert str(home) in ended.stderr


def test_status_down_and_gc(services: Start, tmp_path: Path) -> None:
    """The commands beside `up` find the home's service, and say when there is none."""
    home = tmp_path / "home"
    assert "no service runs" in run_command("status", "--home", home).stdout
    service = services(home)
    status = run_command("status", "--home", home)
    assert status.returncode == 0
    assert service.endpoint in status.stdout
    assert "process" in status.stdout
    ended = home / "jobs" / "ended-job"
    ended.mkdir()
    (ended / "file").write_bytes(bytes(2_000_000))
    assert "freed 2.0 MB" in run_command("gc", "--home", home).stdout
    assert not ended.exists()
    down = run_command("down", "--home", home)
    assert (down.returncode, down.stdout) == (0, f"stopped {service.endpoint}\n")
    assert service.process.wait(10) == 0
    assert run_command("status", "--home", home).returncode == 1
    assert run_command("down", "--home", home).returncode == 0
    orphan = home / "s3" / "blobs" / "00" / "orphan"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(bytes(3_000_000))
    assert "freed 3.0 MB" in run_command("gc", "--home", home).stdout
    assert not orphan.exists()


def test_log_says_what_was_asked(services: Start, tmp_path: Path) -> None:
    """The home's service.log has a line a request, with its id; the terminal has none."""
    service = services(tmp_path)
    s3 = service.client("s3")
    request_id = s3.list_buckets()["ResponseMetadata"]["RequestId"]
    assert service.stop() == (0, "")
    log = (tmp_path / "service.log").read_text()
    assert "s3 ListBuckets GET / 200 ok" in log
    assert request_id in log


def test_services_of_moto(services: Start, tmp_path: Path) -> None:
    """STS, IAM, ECR and CloudWatch answer behind the same port, for the account that our ARNs name."""
    service = services(tmp_path)
    identity = service.client("sts").get_caller_identity()
    assert identity["Account"] == "000000000000"
    iam = service.client("iam")
    role = iam.create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]
    assert role["Arn"] == "arn:aws:iam::000000000000:role/r"
    ecr = service.client("ecr")
    ecr.create_repository(repositoryName="drydock-train")
    assert [r["repositoryName"] for r in ecr.describe_repositories()["repositories"]] == ["drydock-train"]
    assert service.client("cloudwatch").list_metrics()["Metrics"] == []


def test_further_addresses(service: Service) -> None:
    """Only the loopback answers, until an engine asks for another address, and again when it is done."""
    port = int(service.endpoint.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)
    assert service.listeners.open("127.0.0.2") == port
    try:
        assert health(f"http://127.0.0.2:{port}")["endpoint"] == service.endpoint
    finally:
        service.listeners.close("127.0.0.2")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)
    with pytest.raises(OSError, match="assign"):
        service.listeners.open("192.0.2.1")


def test_start_loads_little() -> None:
    """What a start imports has no part that is slow and seldom wanted."""
    script = (
        "import sys, local_mode.service; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"moto", "docker", "torch", "flask", "boto3", "PIL", "rich"} & set(loaded)


def test_damaged_home(tmp_path: Path) -> None:
    """An index that is no database is one line that names it, and is left as it is."""
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3" / "index.sqlite").write_text("no database " * 100)
    ended = run_command("up", "--home", tmp_path, "--port", "0", "--engine", "process")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert str(tmp_path / "s3") in ended.stderr
    assert (tmp_path / "s3" / "index.sqlite").read_text() == "no database " * 100
