# ruff: noqa: INP001, T201 -- a script, run by its path, that prints.
"""Push an image and prove what was pushed; measure an image by pushing it to a registry of one's own.

    python docker/registry.py push drydock-train:TAG [--registry HOST:PORT | --region REGION] [--record FILE]
    python docker/registry.py size drydock-train:TAG

`push` without --registry goes to Amazon ECR by boto3's own credentials. build_and_push.sh and
docker/image-size.sh call this; it needs the host's environment (`make setup`) and a docker client.
"""

import argparse
import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

REPOSITORY_ROOT = Path(__file__).resolve().parent.parent
RECORD = REPOSITORY_ROOT / "build" / "images.json"
MANIFEST_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
START_SECONDS = 20  # a local registry starts in well under one
ANSWER_SECONDS = 60  # for one reply of a registry's API
# docker/client.sh chooses the same way; the scripts that call this one export its choice.
DOCKER = os.environ.get("DOCKER") or shutil.which("/usr/bin/docker") or "docker"


class PushError(Exception):
    """What went wrong and what to do, in one line."""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Where images go: HOST[:PORT], with a name and a password where it asks for them."""

    address: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def is_here(self) -> bool:
        """Whether it is on loopback: then, as Docker does it, by plain HTTP and past any proxy."""
        host = self.address.rpartition(":")[0] or self.address
        return host == "localhost" or host.startswith("127.")

    @property
    def url(self) -> str:
        return f"{'http' if self.is_here else 'https'}://{self.address}"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a registry keeps of one image."""

    digest: str
    config_digest: str
    config_size: int  # bytes
    layer_sizes: tuple[int, ...]  # bytes, compressed, lowest layer first

    @property
    def compressed_size(self) -> int:
        """Bytes that a pull moves: the layers and the configuration."""
        return sum(self.layer_sizes) + self.config_size


@dataclass(frozen=True, kw_only=True)
class PushedImage:
    """One entry of build/images.json."""

    name: str  # drydock-train
    address: str  # HOST/drydock-train:TAG
    digest: str  # sha256:... of the manifest

    @property
    def image(self) -> str:
        """HOST/drydock-train@sha256:..., which no later push can change."""
        return f"{self.address.rpartition(':')[0]}@{self.digest}"


def docker(*arguments: str, stdin: str | None = None, environment: dict[str, str] | None = None) -> str:
    """Standard output of a docker command. Raises PushError with the command and its last line."""
    done = subprocess.run(
        [DOCKER, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | (environment or {}),
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise PushError(f"docker {arguments[0]} failed: {last}")
    return done.stdout


@contextlib.contextmanager
def logged_in(registry: Registry) -> Iterator[dict[str, str]]:
    """Environment in which docker knows the registry's password; the user's configuration is left alone."""
    if registry.password is None or registry.username is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="drydock-login-") as folder:
        # The engine that the user's configuration selects, by context, is still the one that pushes.
        users = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
        if (users / "contexts").is_dir():
            (Path(folder) / "contexts").symlink_to(users / "contexts")
        if (users / "config.json").is_file():
            context = json.loads((users / "config.json").read_text(encoding="utf-8")).get("currentContext")
            if context:
                document = json.dumps({"currentContext": context})
                (Path(folder) / "config.json").write_text(document, encoding="utf-8")
        environment = {"DOCKER_CONFIG": folder}
        docker(
            "login",
            "--username",
            registry.username,
            "--password-stdin",
            registry.address,
            stdin=registry.password,
            environment=environment,
        )
        yield environment


def opener(registry: Registry) -> urllib.request.OpenerDirector:
    """For requests to `registry`: the environment's proxies and CA bundle, but not for loopback."""
    if registry.is_here:
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
    bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or None
    context = ssl.create_default_context(cafile=bundle)
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))


def fetch_manifest(registry: Registry, name: str, digest: str) -> Manifest:
    """The manifest `digest` of repository `name`, checked against that digest. Raises PushError."""
    request = urllib.request.Request(  # noqa: S310 -- Registry.url is http or https
        f"{registry.url}/v2/{name}/manifests/{digest}", headers={"Accept": ", ".join(MANIFEST_TYPES)}
    )
    if registry.password is not None:
        token = base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    try:
        with opener(registry).open(request, timeout=ANSWER_SECONDS) as reply:
            body: bytes = reply.read()
    except (urllib.error.URLError, TimeoutError) as error:
        raise PushError(
            f"{registry.address} does not give back the manifest {name}@{digest}: {error}"
        ) from error
    found = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if found != digest:
        raise PushError(f"{registry.address} answered {found} when asked for {name}@{digest}")
    document = json.loads(body)
    if "config" not in document:
        raise PushError(f"{name}@{digest} is a {document.get('mediaType')}, not the manifest of one image")
    return Manifest(
        digest=digest,
        config_digest=document["config"]["digest"],
        config_size=document["config"]["size"],
        layer_sizes=tuple(layer["size"] for layer in document["layers"]),
    )


def push(image: str, registry: Registry) -> tuple[PushedImage, Manifest]:
    """Push local `image` (NAME:TAG) and compare what the registry then holds with the image here.

    Raises PushError.
    """
    name, separator, tag = image.rpartition(":")
    if not separator or "/" in image:
        raise PushError(f"{image!r} is not a local NAME:TAG, such as drydock-train:latest")
    local_id = docker("image", "inspect", "--format", "{{.Id}}", image).strip()
    address = f"{registry.address}/{name}:{tag}"
    docker("tag", image, address)
    try:
        with logged_in(registry) as environment:
            output = docker("push", address, environment=environment)
    finally:
        docker("image", "rm", "--no-prune", address)  # the tag alone; NAME:TAG keeps the image
    match = re.search(rf"^{re.escape(tag)}: digest: (sha256:[0-9a-f]{{64}}) size: \d+$", output, re.MULTILINE)
    if match is None:
        raise PushError(f"docker push {address} named no digest")
    manifest = fetch_manifest(registry, name, match[1])
    # An engine's image id is the digest of the configuration, or, with containerd's store, of the manifest.
    if local_id not in {manifest.config_digest, manifest.digest}:
        raise PushError(
            f"{address} holds {manifest.config_digest}, the image here is {local_id}: "
            "it changed during the push, push again"
        )
    return PushedImage(name=name, address=address, digest=manifest.digest), manifest


def record(pushed: PushedImage, path: Path) -> None:
    """Put `pushed` into the JSON file `path`, beside other images' entries; whole or not at all."""
    entries: dict[str, Any] = {}
    if path.exists():
        entries = json.loads(path.read_text(encoding="utf-8"))
    entries[pushed.name] = {"address": pushed.address, "digest": pushed.digest, "image": pushed.image}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        json.dump(entries, file, indent=2, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def ecr_client(region: str | None) -> Any:
    """ECR in `region`, else where AWS_REGION or boto3's configuration says.

    Raises PushError where none says a region, or there are no credentials.
    """
    session = boto3.Session(region_name=region or os.environ.get("AWS_REGION"))
    if session.region_name is None:
        raise PushError("no AWS region: give --region, or set AWS_REGION or the profile's region")
    if session.get_credentials() is None:
        raise PushError("no AWS credentials: run `aws configure` or `aws sso login`, or set AWS_PROFILE")
    return session.client("ecr")


def ecr_registry(ecr: Any, name: str) -> Registry:
    """The account's registry, repository `name` in it, with a password for twelve hours. Raises PushError."""
    try:
        try:
            ecr.describe_repositories(repositoryNames=[name])
        except ecr.exceptions.RepositoryNotFoundException:
            ecr.create_repository(
                repositoryName=name,
                imageScanningConfiguration={"scanOnPush": True},
                tags=[{"Key": "project", "Value": "drydock"}],
            )
            print(f"made the ECR repository {name}")
        grant = ecr.get_authorization_token()["authorizationData"][0]
    except (BotoCoreError, ClientError) as error:
        raise PushError(f"ECR: {error}") from error
    username, _, password = base64.b64decode(grant["authorizationToken"]).decode().partition(":")
    address = grant["proxyEndpoint"].removeprefix("https://")
    return Registry(address=address, username=username, password=password)


@contextlib.contextmanager
def local_registry(password_file: Path | None = None) -> Iterator[str]:
    """HOST:PORT of a registry on loopback, gone with all its storage at the end.

    `password_file` is an htpasswd file of bcrypt lines; without one anybody may push. Raises PushError.
    """
    program = shutil.which("docker-registry")
    if program is None:
        raise PushError("no docker-registry program: install it (Debian: apt-get install docker-registry)")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drydock-registry-")))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        configuration: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
            "http": {"addr": address},
        }
        if password_file is not None:
            configuration["auth"] = {"htpasswd": {"realm": "drydock", "path": str(password_file)}}
        # JSON is YAML.
        (folder / "config.yml").write_text(json.dumps(configuration), encoding="utf-8")
        log = stack.enter_context((folder / "log").open("w+", encoding="utf-8"))
        process = subprocess.Popen(
            [program, "serve", str(folder / "config.yml")], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            await_registry(Registry(address=address), process, folder / "log")
            yield address
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def await_registry(registry: Registry, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the registry answers. Raises PushError where it ends or does not answer in time."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with opener(registry).open(f"{registry.url}/v2/", timeout=START_SECONDS):
                return
        except urllib.error.HTTPError as error:
            if error.code == 401:  # it asks for a password: it is up
                return
            raise PushError(f"the local registry answers {error.code}") from error
        except (urllib.error.URLError, ConnectionError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(encoding="utf-8").strip().splitlines()[-1:]
                raise PushError(f"docker-registry did not start: {' '.join(tail) or error}") from error
        time.sleep(0.05)  # between two polls


def command_push(arguments: argparse.Namespace) -> None:
    if arguments.registry:
        registry = Registry(address=arguments.registry)
    else:
        registry = ecr_registry(ecr_client(arguments.region), arguments.image.rpartition(":")[0])
    pushed, manifest = push(arguments.image, registry)
    record(pushed, arguments.record)
    print(f"pushed {pushed.image} ({manifest.compressed_size / 1e9:.2f} GB compressed)")
    print(f"noted in {arguments.record}")


def command_size(arguments: argparse.Namespace) -> None:
    unpacked = int(docker("image", "inspect", "--format", "{{.Size}}", arguments.image))
    with local_registry() as address:
        _, manifest = push(arguments.image, Registry(address=address))
    compressed = manifest.compressed_size / 1e9
    print(f"{arguments.image}: {compressed:.3f} GB compressed, {unpacked / 1e9:.3f} GB unpacked")
    print("layers, compressed MB: " + " ".join(f"{size / 1e6:.1f}" for size in manifest.layer_sizes))
    if arguments.limit is not None and compressed > arguments.limit:
        raise PushError(f"{arguments.image} is above its limit of {arguments.limit} GB compressed")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    pusher = commands.add_parser("push", help="to ECR, or to --registry")
    pusher.add_argument("image", help="local NAME:TAG")
    target = pusher.add_mutually_exclusive_group()
    target.add_argument("--registry", help="HOST:PORT of a registry that docker can push to already")
    target.add_argument("--region", help="AWS region; default: AWS_REGION, or boto3's configuration")
    pusher.add_argument("--record", type=Path, default=RECORD, help="default: %(default)s")
    pusher.set_defaults(command=command_push)
    sizer = commands.add_parser("size", help="what a pull moves, by a registry on loopback")
    sizer.add_argument("image", help="local NAME:TAG")
    sizer.add_argument("--limit", type=float, help="GB, compressed; more than that is an error")
    sizer.set_defaults(command=command_size)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        options.command(options)
    except PushError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
