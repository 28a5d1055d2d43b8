"""The files that images are made of: linted, locked, consistent with each other. None needs Docker."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

LOCKS = ("docker/train/requirements.txt", "requirements/host.txt", "requirements/dev.txt")
SCRIPTS = Path(sys.executable).parent


def locked(path: Path) -> dict[str, set[str]]:
    """Package -> its versions (several where they depend on the Python version)."""
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE):
        versions.setdefault(name, set()).add(version)
    return versions


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_has_hashes(repository: Path, lock: str) -> None:
    """No package of a lock file can be exchanged for another file of that version."""
    text = (repository / lock).read_text()
    requirements = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(requirements) > 20
    bare = [requirement.split()[0] for requirement in requirements if "--hash=sha256:" not in requirement]
    assert bare == []


def test_the_locks_agree(repository: Path) -> None:
    """One .venv holds the host's, the developers' and the image's packages, each in one version."""
    train, host, dev = (locked(repository / lock) for lock in LOCKS)
    for one, other in ((train, host), (train, dev), (host, dev)):
        different = {
            name: (one[name], other[name]) for name in one.keys() & other.keys() if one[name] != other[name]
        }
        assert different == {}
    assert host.keys() <= dev.keys()


def test_what_the_image_leaves_out_is_left_out_of_its_lock(repository: Path, slim_script: ModuleType) -> None:
    """The lock and the cuts agree on which of torch's requirements are not installed."""
    assert locked(repository / "docker/train/requirements.txt").keys().isdisjoint(slim_script.LEFT_OUT)
    lock_script = (repository / "requirements/lock.sh").read_text()
    for name in slim_script.LEFT_OUT:
        assert f"--no-emit-package {name}" in lock_script


def test_the_dependencies_are_explained(repository: Path) -> None:
    """docs/dependencies.md has a line for every direct dependency, and for none that is gone."""
    direct = set()
    for source in (*repository.glob("requirements/*.in"), *repository.glob("docker/*/*.in")):
        direct |= set(re.findall(r"^([a-z][a-z0-9-]*)", source.read_text(), re.MULTILINE))
    direct.add("sagemaker-training")
    page = (repository / "docs/dependencies.md").read_text()
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE)) == direct


def test_the_cuts_are_explained(repository: Path, slim_script: ModuleType) -> None:
    """docs/images.md names each cut and what it costs."""
    page = (repository / "docs/images.md").read_text()
    missing = [cut.name for cut in slim_script.CUTS if f"| {cut.name} |" not in page or cut.costs not in page]
    assert missing == []
    assert [name for name in slim_script.LEFT_OUT if f"| `{name}` |" not in page] == []


def test_the_dockerfiles_are_clean(repository: Path) -> None:
    """The linter hadolint has nothing to say."""
    dockerfiles = sorted(repository.glob("docker/*/Dockerfile"))
    assert dockerfiles
    done = subprocess.run(
        [SCRIPTS / "hadolint", *dockerfiles], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_shell_scripts_are_clean_and_strict(repository: Path) -> None:
    """The linter shellcheck has nothing to say, and each program stops at its first error."""
    programs = sorted(
        path
        for pattern in ("*.sh", "docker/*.sh", "docker/*/*.sh", "requirements/*.sh", ".ci/run")
        for path in repository.glob(pattern)
    )
    assert len(programs) >= 6
    done = subprocess.run(
        [SCRIPTS / "shellcheck", *programs], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    sourced = repository / "docker" / "client.sh"
    loose = [
        path.name for path in programs if path != sourced and "set -Eeuo pipefail" not in path.read_text()
    ]
    assert loose == []


def test_a_cut_that_orphans_a_library_is_found(slim_script: ModuleType, tmp_path: Path) -> None:
    """A library is unresolved once the one that it NEEDs is gone."""
    compiler = shutil.which("cc")
    if compiler is None or shutil.which("readelf") is None:
        pytest.skip("needs a C compiler")
    for name, needs in (
        ("drydock_a", []),
        ("drydock_b", ["-Wl,--no-as-needed", f"-L{tmp_path}", "-ldrydock_a"]),
    ):
        (tmp_path / "empty.c").write_text(f"int {name};\n")
        library = f"lib{name}.so"
        subprocess.run(
            [
                compiler,
                "-shared",
                "-fPIC",
                "-nostdlib",
                f"-Wl,-soname,{library}",
                "empty.c",
                *needs,
                "-o",
                library,
            ],
            cwd=tmp_path,
            check=True,
        )
    assert slim_script.unresolved(tmp_path) == set()
    (tmp_path / "libdrydock_a.so").unlink()
    assert slim_script.unresolved(tmp_path) == {("libdrydock_b.so", "libdrydock_a.so")}


def test_a_stale_cut_is_an_error(slim_script: ModuleType, tmp_path: Path) -> None:
    """A pattern that matches nothing any more ends the build, with its name."""
    cut = slim_script.Cut(name="ghosts", patterns=("ghost/*.so",), costs="nothing")
    with pytest.raises(SystemExit, match="ghosts: nothing matches"):
        slim_script.apply(cut, tmp_path)


def test_a_cut_reports_what_it_freed(slim_script: ModuleType, tmp_path: Path) -> None:
    """Folders and files go, and the bytes that they held are counted once."""
    (tmp_path / "package" / "tests" / "tests").mkdir(parents=True)
    (tmp_path / "package" / "tests" / "tests" / "a").write_bytes(b"12345")
    (tmp_path / "package" / "kept.py").write_bytes(b"1")
    cut = slim_script.Cut(name="tests", patterns=("package/**/tests",), costs="tests")
    assert slim_script.apply(cut, tmp_path) == 5
    assert [path.name for path in (tmp_path / "package").iterdir()] == ["kept.py"]


def test_pip_forgets_what_was_left_out(slim_script: ModuleType, tmp_path: Path) -> None:
    """The metadata of torch loses the lines of packages that are left out, and only those."""
    folder = tmp_path / "torch-9.dist-info"
    folder.mkdir()
    kept = "Name: torch\nRequires-Dist: filelock\nRequires-Dist: tritonium\n"
    (folder / "METADATA").write_text(kept + "Requires-Dist: triton==9; platform_system == 'Linux'\n")
    slim_script.forget_left_out(tmp_path)
    assert (folder / "METADATA").read_text() == kept
