"""`python -m jobs run --local` against the real local SageMaker, as a user types it."""

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from drydock.data import synthetic
from jobs.client import local_clients
from jobs.service import LocalService, find
from tests.jobs.harness import Program, started

# Small enough for seconds.
QUICK = ("image-size=32", "batch-size=8", "warmup-epochs=0")
ENDLESS = 10_000  # epochs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "bins"
    synthetic.write_set(folder, synthetic.Options(images=25, seed=0, size=32))
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A local SageMaker that is up before the runs, on the process engine."""
    folder = tmp_path_factory.mktemp("service")
    command = ["local_mode", "up", "--port", "0", "--engine", "process", "--home", str(folder / "home")]
    with started(command, folder) as program:
        program.wait_for("ready ")
        found = service_of(program)
        assert found is not None
        yield found
        program.process.terminate()
        assert program.wait() == 0


def service_of(program: Program) -> LocalService | None:
    """The service that a program's output names, if it still answers."""
    port = re.search(r"http://127\.0\.0\.1:([0-9]+)", program.out)
    assert port is not None
    return find(int(port[1]))


def port_of(service: LocalService) -> str:
    return service.endpoint.rpartition(":")[2]


def run(
    folder: Path, data: Path, *options: str, port: str = "0", job: str = "1", epochs: int = 1
) -> AbstractContextManager[Program]:
    changes = [f"--set=HyperParameters.{change}" for change in (*QUICK, f"epochs={epochs}")]
    command = ["jobs", "run", "jobs/train.yaml", "--local", "--engine", "process", "--port", port]
    command += [f"--download={folder / 'results'}", *changes, *options]
    return started(command, folder, DATA=str(data), JOB_ID=job)


@pytest.mark.slow
def test_one_command_runs_a_job_to_its_files(tmp_path: Path, data: Path) -> None:
    """Service started, job Completed, metrics said, pictures on the disk, service gone again."""
    with run(tmp_path, data, f"--home={tmp_path / 'home'}") as program:
        program.wait_for("Following drydock-train-1 at ")
        assert program.wait() == 0, program.err
    assert program.err == ""
    assert "Completed: drydock-train-1\n" in program.out
    assert re.search(r"^  test:accuracy +[01]\.[0-9]{4}$", program.out, re.MULTILINE)
    results = tmp_path / "results" / "drydock-train-1"
    assert (results / "model.tar.gz").is_file()
    assert list((results / "output").glob("*.png"))
    assert service_of(program) is None


@pytest.mark.slow
def test_a_failed_job_says_why(tmp_path: Path, data: Path, service: LocalService) -> None:
    """The FailureReason is the one line on stderr, and the exit code is 1."""
    change = "--set=HyperParameters.lr=abc"
    with run(tmp_path, data, change, port=port_of(service), job="failed") as program:
        assert program.wait() == 1
    assert re.fullmatch(r"error: AlgorithmError: .*lr=abc.*\n", program.err)
    assert "Failed: drydock-train-failed" in program.out


@pytest.mark.slow
def test_ctrl_c_stops_the_job(tmp_path: Path, data: Path, service: LocalService) -> None:
    """The first Ctrl-C stops the job, says so, and follows it to its end; its model is kept."""
    with run(tmp_path, data, port=port_of(service), job="stopped", epochs=ENDLESS) as program:
        program.wait_for("Epoch 1:")
        program.interrupt()
        assert program.wait() == 3, program.err
    assert "== Stopping drydock-train-stopped" in program.out
    assert "Stopped: drydock-train-stopped" in program.out
    assert (tmp_path / "results" / "drydock-train-stopped" / "model.tar.gz").is_file()


@pytest.mark.slow
def test_a_second_ctrl_c_detaches(tmp_path: Path, data: Path) -> None:
    """The second leaves job and service running and says how to come back, which works."""
    home = tmp_path / "home"
    with run(tmp_path / "run", data, f"--home={home}", job="left", epochs=ENDLESS) as program:
        program.wait_for("Following")
        program.interrupt()
        program.wait_for("== Stopping")
        program.interrupt()
        assert program.wait() == 5, program.err
    left = service_of(program)
    assert left is not None
    try:
        command = re.search(r"To follow it: python -m (jobs follow .*)", program.out)
        assert command is not None
        with started(command[1].split(), tmp_path / "follow") as follower:
            # The first Ctrl-C had asked for the end already.
            assert follower.wait() == 3, follower.err
    finally:
        with started(["local_mode", "down", "--home", str(home)], tmp_path / "down") as down:
            assert down.wait() == 0


@pytest.mark.slow
def test_no_wait_returns_at_once(tmp_path: Path, data: Path, service: LocalService) -> None:
    """The job is sent and named; it can be followed later."""
    with run(tmp_path, data, "--no-wait", port=port_of(service), job="later") as program:
        assert program.wait() == 0, program.err
    assert "== Sent: drydock-train-later" in program.out
    follow = ["jobs", "follow", "drydock-train-later", "--local", "--port", port_of(service), "--no-download"]
    with started(follow, tmp_path / "follow") as follower:
        assert follower.wait() == 0, follower.err
    assert "Completed: drydock-train-later" in follower.out


def test_data_in_a_bucket_of_the_local_service(tmp_path: Path, data: Path, service: LocalService) -> None:
    """DATA may be an s3:// prefix of the local service, whose folders become channels."""
    s3 = local_clients(service.endpoint).s3
    s3.create_bucket(Bucket="bins")
    for path in data.rglob("*.jpg"):
        s3.upload_file(str(path), "bins", f"set/{path.relative_to(data)}")
    command = ["jobs", "run", "jobs/train.yaml", "--local", "--port", port_of(service), "--dry-run"]
    with started(command, tmp_path, DATA="s3://bins/set") as program:
        assert program.wait() == 0, program.err
    found = re.findall(r"S3Uri: (.*)", program.out)
    assert found == ["s3://bins/set/train", "s3://bins/set/validation", "s3://bins/set/test"]


def test_a_name_used_before_is_refused(tmp_path: Path, data: Path, service: LocalService) -> None:
    """AWS's ResourceInUse on one line, and exit code 2."""
    with run(tmp_path / "1", data, "--no-wait", port=port_of(service), job="twice") as first:
        assert first.wait() == 0, first.err
    with run(tmp_path / "2", data, port=port_of(service), job="twice") as second:
        assert second.wait() == 2
    assert second.err.startswith("error: CreateTrainingJob: ResourceInUse: ")
    assert second.err.count("\n") == 1


def test_another_engine_or_home_than_the_running_one_is_refused(
    tmp_path: Path, data: Path, service: LocalService
) -> None:
    """A service that is up and differs from what is asked for is named, with the ways out."""
    with run(tmp_path / "1", data, "--engine=docker", port=port_of(service)) as program:
        assert program.wait() == 2
    assert "runs jobs by process, not by docker" in program.err
    with run(tmp_path / "2", data, f"--home={tmp_path}", port=port_of(service)) as program:
        assert program.wait() == 2
    assert f"has its home at {service.home}, not at {tmp_path}" in program.err
    assert program.err.count("\n") == 1


def test_a_port_that_something_else_has_is_refused(tmp_path: Path, data: Path) -> None:
    """Another server on the port is not taken for the local SageMaker."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with run(tmp_path, data, port=str(server.server_port)) as program:
                assert program.wait() == 2
        finally:
            server.shutdown()
            thread.join()
    assert "is no local SageMaker" in program.err
    assert program.err.count("\n") == 1


def test_a_service_that_cannot_start_gives_its_reason(
    tmp_path: Path, data: Path, service: LocalService
) -> None:
    """A home that another service holds is said in the service's own words."""
    with run(tmp_path, data, f"--home={service.home}") as program:
        assert program.wait() == 2
    assert program.err.startswith("error: the local SageMaker did not start (exit code ")
    assert program.err.count("\n") == 1
