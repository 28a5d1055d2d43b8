"""Ordinary users: in the group docker, not root, with folders named as people name them."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_mode.home import Home
from tests.engines.harness import BUCKET, REPOSITORY, STOP_GRACE_SECONDS, LocalSageMaker

pytestmark = pytest.mark.slow

SOCKET = Path("/var/run/docker.sock")
SCRIPT = """\
import os, pathlib
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
channel = base / "input" / "data" / "training"
for file in sorted(channel.rglob("*")):
    if file.is_file():
        print(file.relative_to(channel), "=", file.read_text(encoding="utf-8"))
locked = base / "model" / "locked"
locked.mkdir()
(locked / "weights").write_text("w")
(locked / "weights").chmod(0)
locked.chmod(0)
(base / "output" / "data" / "notes").write_text("n")
"""


@dataclass(frozen=True, kw_only=True)
class Person:
    """An account of this machine, with a folder of its own and a Python that it can run."""

    uid: int
    groups: tuple[int, ...]
    folder: Path
    python: Path

    def popen(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Runs the Python as this user, with nothing of ours in its environment, umask 077."""
        environment = {
            "PATH": os.defpath,
            "PYTHONPATH": str(REPOSITORY),  # where `python -m local_mode` is; read, never written
            "PYTHONDONTWRITEBYTECODE": "1",
            "DRYDOCK_STOP_GRACE_SECONDS": str(STOP_GRACE_SECONDS),
        }
        return subprocess.Popen(
            [self.python, *arguments],
            cwd=self.folder,
            env=environment,
            user=self.uid,
            group=self.uid,
            extra_groups=self.groups,
            umask=0o077,
            text=True,
            **options,
        )

    def run(self, program: str, *arguments: str | Path) -> str:
        """A program in Python, to its end."""
        with self.popen(
            "-c", program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output

    @contextlib.contextmanager
    def service(self, engine: str, *options: str) -> Iterator[LocalSageMaker]:
        """A local SageMaker of this user's."""
        command = ("-m", "local_mode", "up", "--port", "0", "--engine", engine, *options)
        with self.popen(*command, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                ready = process.stdout.readline().split()
                assert ready[:1] == ["ready"], ready
                home = (self.folder / (options[-1] if options else ".drydock")).resolve()
                service = LocalSageMaker(engine=engine, home=home, endpoint=ready[1], process=process)
                service.client("s3").create_bucket(Bucket=BUCKET)
                yield service
                assert service.leftovers() == []
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=60)
        assert process.returncode == 0


@pytest.fixture(scope="module")
def person() -> Iterator[Person]:
    """A new user of this machine, who is removed again."""
    if os.getuid() != 0 or shutil.which("useradd") is None:
        pytest.skip("only root can make a user, by useradd")
    name = f"drydock-test-{os.getpid()}"
    # Not below pytest's own folder, which only its owner may enter.
    top = Path(tempfile.mkdtemp(prefix="drydock user ünï "))
    top.chmod(0o755)
    folder = top / "my files"
    subprocess.run(
        ["useradd", "--no-create-home", "--home-dir", folder, "--user-group", name],
        check=True,
        capture_output=True,
    )
    try:
        uid = int(subprocess.run(["id", "-u", name], check=True, capture_output=True, text=True).stdout)
        folder.mkdir()
        os.chown(folder, uid, uid)
        groups = (SOCKET.stat().st_gid,) if SOCKET.exists() else ()
        made = Person(uid=uid, groups=groups, folder=folder, python=python_for_all(top / "venv"))
        try:
            made.run("import boto3, docker, drydock, local_mode, sagemaker_training")
        except (AssertionError, OSError) as error:
            pytest.skip(f"another user cannot read this checkout and its .venv: {error}")
        yield made
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)
        shutil.rmtree(top)


def python_for_all(folder: Path) -> Path:
    """A Python with the packages of ours: ours may lie in a folder that nobody else can enter."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = next(
        (path for path in (f"/usr/bin/{version}", f"/usr/local/bin/{version}") if Path(path).exists()), ""
    )
    if not base:
        pytest.skip(f"no {version} in /usr/bin or /usr/local/bin that another user could run")
    subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True, capture_output=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (packages / "ours.pth").write_text(line, encoding="utf-8")
    return folder / "bin" / "python"


@pytest.fixture
def data(person: Person) -> Iterator[Path]:
    """A folder that the user may read and nobody write."""
    folder = person.folder.parent / "daten für alle"
    (folder / "inner folder").mkdir(parents=True)
    (folder / "ein s.txt").write_text("1", encoding="utf-8")
    (folder / "inner folder" / "zwei ü.txt").write_text("2", encoding="utf-8")
    for each in (folder, folder / "inner folder"):
        each.chmod(0o555)
    yield folder
    shutil.rmtree(folder)


FETCH = """\
import os, sys, boto3
client = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1",
                      aws_access_key_id="k", aws_secret_access_key="s")
client.download_file(sys.argv[2], sys.argv[3], sys.argv[4])
"""
DELETE = """\
import pathlib, shutil, sys
for each in pathlib.Path(".").iterdir():
    if each.is_dir() and not each.is_symlink():
        shutil.rmtree(each)
    else:
        each.unlink()
"""


@pytest.mark.parametrize("layout", ["default", "unicode", "links"])
def test_a_user_runs_and_deletes_all(engine: str, person: Person, data: Path, layout: str) -> None:
    """A user who is not root, umask 077, no HOME: jobs, results, downloads; all of it hers to delete.

    Homes: the default, one with spaces given relatively, one that is a link, with S3 on another disk.
    """
    elsewhere = Path(tempfile.mkdtemp(prefix="drydock-", dir="/dev/shm"))
    os.chown(elsewhere, person.uid, person.uid)
    options: tuple[str, ...] = ()
    if layout == "unicode":
        options = ("--home", "mein Heim ♥/tief")
    if layout == "links":
        (person.folder / "real").mkdir()
        (person.folder / "link").symlink_to("real")
        (person.folder / "real" / "s3").symlink_to(elsewhere)
        os.chown(person.folder / "real", person.uid, person.uid)
        options = ("--home", "link")
    channel = {
        "ChannelName": "training",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"file://{data}"}},
    }
    results = person.folder / "Ergebnisse ü"
    with person.service(engine, *options) as service:
        for number, output in enumerate((f"s3://{BUCKET}/results", f"file://{results}")):
            name = f"user-{layout}-{number}"
            request = service.script(
                name, SCRIPT, InputDataConfig=[channel], OutputDataConfig={"S3OutputPath": output}
            )
            description = service.run(request)
            log = service.log(name)
            assert description["TrainingJobStatus"] == "Completed", (description["FailureReason"], log)
            assert {"ein s.txt = 1", "inner folder/zwei ü.txt = 2"} <= set(log)
        key = f"results/user-{layout}-0/output/model.tar.gz"
        person.run(FETCH, service.endpoint, BUCKET, key, person.folder / "model.tar.gz")
    for archive in (person.folder / "model.tar.gz", results / f"user-{layout}-1" / "output" / "model.tar.gz"):
        with tarfile.open(archive) as packed:
            assert sorted(packed.getnames()) == ["locked", "locked/weights"]
    owners = {path.lstat().st_uid for root in (person.folder, elsewhere) for path in root.rglob("*")}
    assert owners <= ({person.uid, 0} if layout == "links" else {person.uid})
    assert not [path for path in results.rglob("*") if path.stat().st_mode & 0o077]
    person.run(DELETE)
    assert list(person.folder.iterdir()) == []
    shutil.rmtree(elsewhere)


def test_a_link_is_the_home_it_leads_to(tmp_path: Path) -> None:
    """A home has one name however it is given: a later service finds what an earlier one left."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert Home.from_environment(str(tmp_path / "link")) == Home((tmp_path / "real").resolve())
