# ruff: noqa: INP001, T201 -- a script, run by its path, that prints.
"""Cut from site-packages what no program of the training image uses; prove that the rest still links.

    python3 slim.py SITE_PACKAGES

Run in the build stage, which has readelf. Each cut names what it costs (docs/images.md has the sizes). After
the cuts every library that was resolvable before must still be: an orphaned one ends the build.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Files and folders that go."""

    name: str
    patterns: tuple[str, ...]  # globs below site-packages; each must match something, else the cut is stale
    costs: str  # what no longer works without them


# Few and large: what saves less than a few MB, or what a GPU run might load after all, stays.
CUTS = (
    Cut(
        name="cuSOLVER multi-GPU",
        patterns=("nvidia/cu13/lib/libcusolverMg.so*",),
        costs="the cusolverMg C API; torch.linalg uses libcusolver, which stays",
    ),
    Cut(
        name="second build of NVRTC",
        patterns=("nvidia/cu13/lib/libnvrtc.alt.so*", "nvidia/cu13/lib/libnvrtc-builtins.alt.so*"),
        costs="nothing: no library names it, and NVRTC itself stays",
    ),
    Cut(
        name="NVSHMEM for kernels",
        patterns=("nvidia/nvshmem/lib/libnvshmem_device.*",),
        costs="compiling kernels that call NVSHMEM; its host library, which libtorch_cuda needs, stays",
    ),
    Cut(
        name="headers and static libraries",
        patterns=("torch/include", "torch/share", "nvidia/*/include", "numpy/_core/include", "**/*.a"),
        costs="compiling extensions in the container, which has no compiler either",
    ),
    Cut(
        name="tests of packages",
        patterns=(
            "sympy/**/tests",
            "scipy/**/tests",
            "numpy/**/tests",
            "networkx/**/tests",
            "mpmath/tests",
            "gevent/tests",
        ),
        costs="running those packages' own test suites in the container",
    ),
)

# Symbol tables stay: `strip` breaks files that auditwheel's patchelf has been at (numpy's OpenBLAS would no
# longer load), and where it does not it saves NCCL's 49 MB, half a percent of a pull.

# Requirements of torch that requirements/lock.sh leaves out. pip must not fetch them when a user's
# requirements.txt names a package that needs torch.
LEFT_OUT = ("triton", "cuda-bindings")

# The NVIDIA driver's own, mounted into the container by its runtime; never in an image.
FROM_THE_HOST = frozenset({"libcuda.so.1", "libnvidia-ml.so.1"})


def size_of(path: Path) -> int:
    """Bytes of a file or of a whole folder."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(entry.lstat().st_size for entry in path.rglob("*") if not entry.is_dir())


def apply(cut: Cut, site: Path) -> int:
    """Remove what `cut` names; bytes freed. Raises SystemExit where a pattern matches nothing."""
    freed = 0
    for pattern in cut.patterns:
        # Outer folders first: what lay below one is gone when its turn comes.
        matches = sorted(site.glob(pattern))
        if not matches:
            sys.exit(f"slim: {cut.name}: nothing matches {pattern} any more; mend or drop the pattern")
        for path in matches:
            if not path.exists() and not path.is_symlink():
                continue
            freed += size_of(path)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    return freed


def shared_objects(site: Path) -> Iterator[Path]:
    for path in sorted(site.rglob("*.so*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            if file.read(4) == b"\x7fELF":
                yield path


def unresolved(site: Path) -> set[tuple[str, str]]:
    """Pairs (library, what it NEEDs) where nothing in `site` or of the system has that name."""
    objects = list(shared_objects(site))
    known = {path.name for path in objects} | {path.name for path in site.rglob("*.so*") if path.is_symlink()}
    cache = subprocess.run(["/sbin/ldconfig", "-p"], check=True, capture_output=True, text=True).stdout
    known |= set(re.findall(r"^\s+(\S+) \(", cache, flags=re.MULTILINE)) | FROM_THE_HOST
    missing = set()
    for path in objects:
        dynamic = subprocess.run(["readelf", "-d", str(path)], check=True, capture_output=True, text=True)
        for needed in re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic.stdout):
            if needed not in known:
                missing.add((str(path.relative_to(site)), needed))
    return missing


def forget_left_out(site: Path) -> None:
    """Drop `Requires-Dist` lines for LEFT_OUT from torch's metadata."""
    (metadata,) = site.glob("torch-*.dist-info/METADATA")
    lines = metadata.read_text(encoding="utf-8").splitlines(keepends=True)
    pattern = re.compile(rf"Requires-Dist: ({'|'.join(LEFT_OUT)})\b")
    kept = [line for line in lines if not pattern.match(line)]
    if len(kept) == len(lines):
        sys.exit(
            f"slim: torch no longer requires {' or '.join(LEFT_OUT)}: drop them from LEFT_OUT and lock.sh"
        )
    metadata.write_text("".join(kept), encoding="utf-8")


def main(site: Path) -> None:
    missing_before = unresolved(site)
    for cut in CUTS:
        print(f"{apply(cut, site) / 1e6:8.1f} MB  {cut.name}")
    forget_left_out(site)
    orphans = unresolved(site) - missing_before
    if orphans:
        sys.exit(
            "slim: a cut took a library that others need: " + ", ".join(map(" needs ".join, sorted(orphans)))
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
