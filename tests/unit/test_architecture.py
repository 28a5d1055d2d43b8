"""The import directions of docs/structure.md, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# Each part of src/drydock and what it may import of the rest: always itself and the lowest layer.
LOWEST = {"contract", "errors"}
ALLOWED = {
    "contract": set[str](),
    "errors": {"contract"},
    "hyperparameters": set[str](),
    "metrics": set[str](),
    "data": {"hyperparameters", "metrics"},
    "models": {"hyperparameters", "data"},
    "artifact": {"models", "data", "hyperparameters", "metrics"},
    "training": {"data", "models", "artifact", "metrics", "hyperparameters"},
}
# What `local_mode` may use of the image's package, since the host has no torch.
TORCH_FREE = {"contract", "errors", "hyperparameters", "metrics", "__version__"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(folder: str) -> list[Path]:
    return sorted((REPOSITORY / folder).rglob("*.py"))


def part(module: str) -> str:
    return ([*module.split("."), ""])[1]


def test_src_imports_neither_jobs_nor_local_mode() -> None:
    """What is in the images knows nothing of the host's programs."""
    for path in sources("src"):
        for module in imports(path):
            assert module.split(".")[0] not in {"jobs", "local_mode"}, f"{path} imports {module}"


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_parts_of_the_package_import_downwards_only(name: str) -> None:
    """No part of the image's package imports one above it or beside it."""
    root = REPOSITORY / "src" / "drydock"
    paths = [root / f"{name}.py"] if (root / f"{name}.py").exists() else sources(f"src/drydock/{name}")
    assert paths, f"{name} is gone: bring ALLOWED up to date"
    for path in paths:
        for module in imports(path):
            used = part(module) if module.startswith("drydock.") else name
            assert used in ALLOWED[name] | LOWEST | {name, "__version__"}, f"{path} imports {module}"


def test_every_part_of_the_package_has_its_place() -> None:
    """A new module of the image's package is given its direction here."""
    found = {path.stem for path in (REPOSITORY / "src" / "drydock").iterdir() if path.suffix in {"", ".py"}}
    assert found - {"__init__", "__pycache__"} == set(ALLOWED)


def test_jobs_does_not_import_the_service() -> None:
    """`jobs` starts the local SageMaker as a program."""
    for path in sources("jobs"):
        for module in imports(path):
            assert module.split(".")[0] != "local_mode", f"{path} imports {module}"
            assert "torch" not in module, f"{path} imports {module}"


def test_the_service_imports_only_what_needs_no_torch() -> None:
    """`local_mode` runs in an environment without torch, and uses of `jobs` only the validation."""
    for path in sources("local_mode"):
        for module in imports(path):
            top = module.split(".")[0]
            assert top not in {"torch", "torchvision"}, f"{path} imports {module}"
            if top == "drydock" and part(module):
                assert part(module) in TORCH_FREE, f"{path} imports {module}"
            if top == "jobs" and part(module):
                assert part(module) == "validation", f"{path} imports {module}"
