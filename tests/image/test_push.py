"""Pushing: to a real registry on loopback, with and without a password; ECR's part by botocore's Stubber."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber


@pytest.fixture(scope="session")
def registry_program() -> None:
    if shutil.which("docker-registry") is None:
        if os.environ.get("DRYDOCK_REQUIRE_DOCKER"):
            pytest.fail("no docker-registry program")
        pytest.skip("no docker-registry program (Debian: apt-get install docker-registry)")


@pytest.fixture
def small_image(docker_cli: str) -> Iterator[str]:
    """An image of a few bytes, of a tag that no other test has."""
    name = f"drydock-push-test:{uuid.uuid4().hex[:12]}"
    import_image(docker_cli, name)
    yield name
    subprocess.run([docker_cli, "image", "rm", "--force", name], stdout=subprocess.DEVNULL, check=True)


def import_image(docker_cli: str, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("anchor")
        member.size = len(name)
        archive.addfile(member, io.BytesIO(name.encode()))
    subprocess.run(
        [docker_cli, "import", "-", name], input=buffer.getvalue(), stdout=subprocess.DEVNULL, check=True
    )


@pytest.mark.docker
@pytest.mark.usefixtures("registry_program")
def test_a_push_is_proven_and_noted(registry_script: ModuleType, small_image: str, tmp_path: Path) -> None:
    """The registry's manifest names the local image; images.json has its digest, beside other entries."""
    record = tmp_path / "build" / "images.json"
    record.parent.mkdir()
    record.write_text('{"other": {"image": "kept"}}')
    with registry_script.local_registry() as address:
        assert (
            registry_script.main(["push", small_image, "--registry", address, "--record", str(record)]) == 0
        )
        entries = json.loads(record.read_text())
        entry = entries["drydock-push-test"]
        manifest = registry_script.fetch_manifest(
            registry_script.Registry(address=address), "drydock-push-test", entry["digest"]
        )
    assert entries["other"] == {"image": "kept"}
    assert entry["address"] == f"{address}/{small_image}"
    assert entry["image"] == f"{address}/drydock-push-test@{entry['digest']}"
    local_id = registry_script.docker("image", "inspect", "--format={{.Id}}", small_image).strip()
    assert manifest.config_digest == local_id
    assert manifest.compressed_size > sum(manifest.layer_sizes) > 0
    assert [path.name for path in record.parent.iterdir()] == ["images.json"], "no temporary file stays"


@pytest.mark.docker
@pytest.mark.usefixtures("registry_program")
def test_a_push_leaves_no_tag_behind(
    registry_script: ModuleType, small_image: str, tmp_path: Path, docker_cli: str
) -> None:
    """The registry's address is not among the machine's images after the push; the image itself is."""
    with registry_script.local_registry() as address:
        arguments = ["push", small_image, "--registry", address, "--record", str(tmp_path / "images.json")]
        assert registry_script.main(arguments) == 0
    listed = subprocess.run(
        [docker_cli, "images", "--format={{.Repository}}:{{.Tag}}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert small_image in listed
    assert not [name for name in listed if name.startswith(address)]


@pytest.mark.docker
@pytest.mark.usefixtures("registry_program")
def test_a_registry_with_a_password(
    registry_script: ModuleType, small_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password goes to docker by standard input, works, and is nowhere on disk afterwards."""
    bcrypt = pytest.importorskip("bcrypt")
    password = uuid.uuid4().hex
    (tmp_path / "htpasswd").write_text(
        f"AWS:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n", encoding="utf-8"
    )
    users = tmp_path / "docker"
    users.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(users))
    with registry_script.local_registry(tmp_path / "htpasswd") as address:
        registry = registry_script.Registry(address=address, username="AWS", password=password)
        pushed, _ = registry_script.push(small_image, registry)
        assert pushed.digest.startswith("sha256:")
        wrong = registry_script.Registry(address=address, username="AWS", password="wrong")
        with pytest.raises(registry_script.PushError, match=r"docker login failed: .*401 Unauthorized"):
            registry_script.push(small_image, wrong)
    assert list(users.iterdir()) == []
    assert password not in repr(registry)


@pytest.mark.docker
def test_an_image_that_is_not_here(registry_script: ModuleType, docker_cli: str, capsys: Any) -> None:
    """One line on standard error, and a non-zero exit."""
    assert docker_cli
    assert registry_script.main(["push", "drydock-nothing:1", "--registry", "127.0.0.1:1"]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "drydock-nothing:1" in message


@pytest.mark.docker
@pytest.mark.usefixtures("registry_program")
def test_another_image_in_the_registry_is_an_error(
    registry_script: ModuleType, small_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest whose configuration is not the local image's is refused."""
    real = registry_script.docker

    def docker(*arguments: str, **options: Any) -> str:
        if arguments[:2] == ("image", "inspect"):
            return f"sha256:{'0' * 64}\n"
        output: str = real(*arguments, **options)
        return output

    monkeypatch.setattr(registry_script, "docker", docker)
    with (
        registry_script.local_registry() as address,
        pytest.raises(registry_script.PushError, match="changed during the push"),
    ):
        registry_script.push(small_image, registry_script.Registry(address=address))


def test_a_manifest_is_checked_against_its_digest(registry_script: ModuleType) -> None:
    """A registry that answers something else than what was asked for is not believed."""

    class Liar(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"config": {"digest": "sha256:1", "size": 1}, "layers": []}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 -- the base class's name
            pass

    with HTTPServer(("127.0.0.1", 0), Liar) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            registry = registry_script.Registry(address=f"127.0.0.1:{server.server_port}")
            with pytest.raises(registry_script.PushError, match="answered sha256:"):
                registry_script.fetch_manifest(registry, "drydock-train", f"sha256:{'0' * 64}")
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def ecr(monkeypatch: pytest.MonkeyPatch) -> Any:
    return boto3.client(
        "ecr", region_name="eu-west-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )


AUTHORIZATION = {
    "authorizationData": [
        {
            "authorizationToken": base64.b64encode(b"AWS:the-token").decode(),
            "proxyEndpoint": "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        }
    ]
}


def test_a_missing_repository_is_made(registry_script: ModuleType, ecr: Any) -> None:
    """The exact requests to ECR where the repository is not there yet, and the registry that follows."""
    with Stubber(ecr) as stub:
        stub.add_client_error(
            "describe_repositories",
            service_error_code="RepositoryNotFoundException",
            expected_params={"repositoryNames": ["drydock-train"]},
        )
        stub.add_response(
            "create_repository",
            {},
            {
                "repositoryName": "drydock-train",
                "imageScanningConfiguration": {"scanOnPush": True},
                "tags": [{"Key": "project", "Value": "drydock"}],
            },
        )
        stub.add_response("get_authorization_token", AUTHORIZATION, {})
        registry = registry_script.ecr_registry(ecr, "drydock-train")
        stub.assert_no_pending_responses()
    assert registry == registry_script.Registry(
        address="123456789012.dkr.ecr.eu-west-1.amazonaws.com", username="AWS", password="the-token"
    )
    assert registry.url == "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"


def test_a_repository_that_is_there_is_kept(registry_script: ModuleType, ecr: Any) -> None:
    """Nothing is created where the repository exists."""
    with Stubber(ecr) as stub:
        stub.add_response(
            "describe_repositories", {"repositories": []}, {"repositoryNames": ["drydock-train"]}
        )
        stub.add_response("get_authorization_token", AUTHORIZATION, {})
        registry_script.ecr_registry(ecr, "drydock-train")
        stub.assert_no_pending_responses()


def test_a_refusal_of_ecr_is_one_line(registry_script: ModuleType, ecr: Any) -> None:
    """What AWS denies reaches the user with AWS's own words."""
    with Stubber(ecr) as stub:
        stub.add_client_error(
            "describe_repositories",
            service_error_code="AccessDeniedException",
            service_message="not authorized to perform: ecr:DescribeRepositories",
        )
        with pytest.raises(registry_script.PushError, match="not authorized to perform"):
            registry_script.ecr_registry(ecr, "drydock-train")


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment that names no region and no credentials."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("no_aws")
def test_a_missing_region_is_an_error(registry_script: ModuleType, capsys: Any) -> None:
    """No region is assumed."""
    assert registry_script.main(["push", "drydock-train:1"]) == 1
    assert capsys.readouterr().err.startswith("error: no AWS region: give --region")


@pytest.mark.usefixtures("no_aws")
def test_missing_credentials_are_an_error(registry_script: ModuleType, capsys: Any) -> None:
    """The message says how to get credentials."""
    assert registry_script.main(["push", "drydock-train:1", "--region", "eu-west-1"]) == 1
    assert capsys.readouterr().err.startswith("error: no AWS credentials: run `aws configure`")


@pytest.fixture
def checkout(repository: Path, tmp_path: Path) -> Path:
    """A git checkout with the scripts, of a revision that is no other checkout's."""
    folder = tmp_path / "checkout"
    shutil.copytree(repository / "docker", folder / "docker", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        repository / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    for name in ("build_and_push.sh", "pyproject.toml", "LICENSE", ".dockerignore"):
        shutil.copy(repository / name, folder / name)
    (folder / "README.md").write_text(f"{uuid.uuid4()}\n")
    (folder / ".gitignore").write_text("/.venv\n/build/\n__pycache__/\n")
    (folder / ".venv").symlink_to(repository / ".venv")
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")
    for arguments in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message=all")):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    return folder


@pytest.mark.docker
@pytest.mark.usefixtures("registry_program")
def test_the_script_pushes_the_commits_image(
    registry_script: ModuleType, docker_cli: str, checkout: Path
) -> None:
    """build_and_push.sh pushes drydock-train under the commit's tag and writes build/images.json."""
    tag = subprocess.run(
        ["docker/build.sh", "--print-tag"], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert re.fullmatch(r"[0-9a-f]{12}", tag)
    import_image(docker_cli, f"drydock-train:{tag}")
    try:
        with registry_script.local_registry() as address:
            done = subprocess.run(
                ["./build_and_push.sh", "--no-build", "--registry", address],
                cwd=checkout,
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 0, done.stderr
    finally:
        subprocess.run(
            [docker_cli, "image", "rm", f"drydock-train:{tag}"], stdout=subprocess.DEVNULL, check=True
        )
    entry = json.loads((checkout / "build" / "images.json").read_text())["drydock-train"]
    assert entry["address"] == f"{address}/drydock-train:{tag}"


def test_a_changed_tree_is_refused(checkout: Path) -> None:
    """An image that is not the commit's does not get the commit's name."""
    with (checkout / "src" / "drydock" / "contract.py").open("a") as file:
        file.write("\n# changed\n")
    done = subprocess.run(["./build_and_push.sh"], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("build_and_push: files of the image differ from the commit")
    tag = subprocess.run(
        ["docker/build.sh", "--print-tag"], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert tag.stdout.strip().endswith("-dirty")


@pytest.mark.docker
def test_an_image_that_was_not_built(docker_cli: str, checkout: Path) -> None:
    """`make push` before `make build` says so."""
    assert docker_cli
    done = subprocess.run(
        ["./build_and_push.sh", "--no-build", "--registry", "127.0.0.1:1"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "run make build" in done.stderr


@pytest.mark.parametrize("arguments", [["--registry"], ["--bogus"]])
def test_bad_arguments_of_the_script(checkout: Path, arguments: list[str]) -> None:
    """One line that names the argument."""
    done = subprocess.run(
        ["./build_and_push.sh", *arguments], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert arguments[0] in done.stderr
    assert done.stderr.count("\n") == 1
