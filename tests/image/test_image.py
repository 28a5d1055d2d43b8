"""The training image as it was built: what is in it, what is not, and that it works."""

import json
import os
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

pytestmark = pytest.mark.docker

Run = Callable[..., "subprocess.CompletedProcess[str]"]

# What a compiler leaves, by file name, wherever it lies.
COMPILERS = re.compile(r"^(x86_64-linux-gnu-)?(gcc|g\+\+|cc|c\+\+|cc1|cc1plus|ld|as|make|clang|nvcc)(-\d+)?$")
# The GPU's driver, and what NVSHMEM's and cuFile's plug-ins for network hardware and job launchers look for.
FROM_THE_HOST = (
    *("libcuda.so", "libmlx5.so", "libibverbs.so", "librdmacm.so"),
    *("libfabric.so", "libucp.so", "libucs.so", "libmpi.so", "libpmix.so", "liboshmem.so"),
)
# BuildKit marks folders that are new in a layer so, though nothing lies below.
OPAQUE = ".wh..wh..opq"
# Where builds leave things.
FORBIDDEN = (
    "/root/.cache",
    "/root/.docker",
    "/run/secrets",
    "/var/lib/apt/lists",
    "/var/cache/apt",
    "/var/log/apt",
    "/tmp",
    "/source",
    "/parts",
    "/stage",
)


@pytest.fixture(scope="module")
def inspected(docker_cli: str, image: str) -> Any:
    done = subprocess.run([docker_cli, "image", "inspect", image], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)[0]


def test_the_image_says_what_it_is(inspected: Any, repository: Path) -> None:
    """The OCI labels name source, revision, version, time and licence."""
    labels = inspected["Config"]["Labels"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}title"] == "drydock-train"
    assert labels[f"{prefix}licenses"] == "Apache-2.0"
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels[f"{prefix}revision"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels[f"{prefix}created"])
    version = re.search(
        r'^__version__ = "(.+)"$', (repository / "src/drydock/__init__.py").read_text(), re.MULTILINE
    )
    assert version is not None
    assert labels[f"{prefix}version"] == version[1]
    assert labels[f"{prefix}source"]
    assert "@" not in labels[f"{prefix}source"].partition("://")[2].partition("/")[0], "a password in a label"
    assert labels[f"{prefix}description"]


def test_the_entry_point_is_in_exec_form(inspected: Any) -> None:
    """No shell stands between the platform's signals and our PID 1."""
    assert inspected["Config"]["Entrypoint"] == ["python3", "-m", "drydock.training.entrypoint"]
    assert not inspected["Config"]["Cmd"]


def test_a_gpu_host_gives_the_container_its_driver(inspected: Any) -> None:
    """NVIDIA's container runtime finds the variables that it acts on."""
    environment = inspected["Config"]["Env"]
    assert "NVIDIA_VISIBLE_DEVICES=all" in environment
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in environment


def test_without_arguments_it_explains_itself(docker_cli: str, image: str) -> None:
    """`docker run IMAGE` says what the image is for."""
    done = subprocess.run([docker_cli, "run", "--rm", image], capture_output=True, text=True, check=False)
    assert "training image for Amazon SageMaker" in done.stdout + done.stderr


def test_train_without_a_job_says_what_is_missing(docker_cli: str, image: str) -> None:
    """`docker run IMAGE train` without /opt/ml fails, and names /opt/ml."""
    done = subprocess.run(
        [docker_cli, "run", "--rm", image, "train"], capture_output=True, text=True, check=False
    )
    assert done.returncode not in (0, 125, 126, 127)
    assert "/opt/ml" in done.stderr


def test_train_is_on_the_path_and_ours(in_image: Run) -> None:
    """`train` starts our entry point, not the one of the same name that sagemaker-training installs."""
    done = in_image("bash", "-c", 'cat "$(command -v train)"')
    assert "drydock.training.entrypoint" in done.stdout, done.stderr


def test_nothing_secret_is_in_the_history(docker_cli: str, image: str) -> None:
    """No build step's recorded command holds a key, a password or a proxy."""
    done = subprocess.run(
        [docker_cli, "history", "--no-trunc", "--format={{.CreatedBy}}", image],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not re.search(r"://[^/\s]*:[^/\s]*@|password|_proxy=|BEGIN |AKIA", done.stdout, re.IGNORECASE)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_layer_holds_a_compiler_a_cache_or_a_secret(docker_cli: str, image: str) -> None:
    """Each layer is read: no compiler, cache, secret or log in it, and nothing hidden by a later one."""
    offending = []
    layers = 0
    with subprocess.Popen([docker_cli, "save", image], stdout=subprocess.PIPE) as saving:
        assert saving.stdout is not None
        with tarfile.open(fileobj=saving.stdout, mode="r|") as archive:
            for member in archive:
                if not member.name.endswith("layer.tar"):
                    continue
                layers += 1
                with tarfile.open(fileobj=archive.extractfile(member), mode="r|") as layer:
                    for entry in layer:
                        path = PurePosixPath("/", entry.name)
                        left = entry.size > 0 and any(path.is_relative_to(place) for place in FORBIDDEN)
                        # .wh.FILE: a file of a lower layer that this one hides, and that still is pulled.
                        hides = path.name.startswith(".wh.") and path.name != OPAQUE
                        if left or hides or (not entry.isdir() and COMPILERS.match(path.name)):
                            offending.append(f"layer {layers}: {path}")
    assert layers >= 5
    assert not offending


def test_every_module_is_compiled(in_image: Run) -> None:
    """No start compiles a package's module: each has its .pyc, trusted without a look at the source."""
    done = in_image(
        "python3",
        "-c",
        "import importlib.util, pathlib, sysconfig\n"
        "site = pathlib.Path(sysconfig.get_path('purelib'))\n"
        "for source in site.rglob('*.py'):\n"
        "    compiled = pathlib.Path(importlib.util.cache_from_source(str(source)))\n"
        "    if 'py312_intrinsics' in source.name: continue\n"
        "    if not compiled.exists(): print('missing', source); continue\n"
        "    flags = int.from_bytes(compiled.read_bytes()[4:8], 'little')\n"
        "    if flags != 0b01: print('checked', source)\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_it_imports_on_a_read_only_root(in_image: Run) -> None:
    """The program starts where nothing but /tmp can be written."""
    done = in_image(
        "python3", "-c", "import torch, torchvision, drydock", options=("--read-only", "--tmpfs=/tmp")
    )
    assert done.returncode == 0, done.stderr


def test_what_pip_sees_is_whole(in_image: Run) -> None:
    """`pip check` finds no missing requirement, so a user's requirements.txt fetches nothing we left out."""
    done = in_image("python3", "-m", "pip", "check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_pip_installs_a_users_wheel(in_image: Run, tmp_path: Path) -> None:
    """A package of the user's own can be installed at run time."""
    with zipfile.ZipFile(tmp_path / "anchor-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("anchor.py", "WEIGHT = 7\n")
        wheel.writestr("anchor-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: anchor\nVersion: 1.0\n")
        wheel.writestr(
            "anchor-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("anchor-1.0.dist-info/RECORD", "anchor.py,,\n")
    done = in_image(
        "bash",
        "-c",
        "python3 -m pip install --quiet --no-index /wheels/*.whl\n"
        "python3 -c 'import anchor; print(anchor.WEIGHT)'",
        options=(f"--volume={tmp_path}:/wheels:ro",),
    )
    assert done.stdout.strip() == "7", done.stderr


@pytest.mark.slow
def test_what_training_needs_works_after_the_cuts(in_image: Run, repository: Path) -> None:
    """A ResNet's step, gloo, workers with either shared memory, PNG, JPEG, safetensors, export, toolkit."""
    script = (repository / "tests" / "image" / "exercise.py").read_text()
    done = in_image("python3", "-", options=("--shm-size=256m",), stdin=script)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "resnet18": [4, 1000],
        "gloo": 3.0,
        "nccl": True,
        "batches": {"file_descriptor": 192.0, "file_system": 192.0},
        "png": True,
        "jpeg": [3, 32, 32],
        "safetensors": True,
        "exported": True,
        "toolkit": True,
    }


@pytest.mark.slow
def test_every_library_resolves(in_image: Run) -> None:
    """The loader finds what libtorch_cuda, its kin and cuDNN's parts name, but for what a GPU host brings."""
    done = in_image(
        "bash",
        "-c",
        # Loaded as torch does it: first its own folder, with RUNPATHs into the nvidia packages.
        "cd /opt/venv/lib/python3*/site-packages\n"
        'export LD_LIBRARY_PATH=$(printf \'%s:\' "$PWD"/torch/lib "$PWD"/nvidia/*/lib)\n'
        "python3 - <<'END'\n"
        "import ctypes, pathlib\n"
        "libraries = [*pathlib.Path('torch/lib').glob('*.so*'), *pathlib.Path('nvidia').rglob('*.so*')]\n"
        "for library in sorted(libraries):\n"
        "    try: ctypes.CDLL(str(library))\n"
        "    except OSError as error: print(library.name, error)\n"
        "print(len(libraries))\n"
        "END\n",
    )
    assert done.returncode == 0, done.stderr
    *failures, count = done.stdout.splitlines()
    assert int(count) > 40
    unresolved = [line for line in failures if not any(name in line for name in FROM_THE_HOST)]
    assert unresolved == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_size_and_rebuild_time_are_within_bounds(image: str, repository: Path) -> None:
    """At most 3.4 GB compressed in a registry, and below 30 s from a change in src/ to a new image."""
    done = subprocess.run(
        ["docker/image-size.sh", image],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TMPDIR": os.environ.get("TMPDIR", "/tmp")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^rebuild after a change in src/: [\d.]+ s$", done.stdout, re.MULTILINE)
