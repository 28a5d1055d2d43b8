"""A home that goes while its service runs."""

import shutil
from pathlib import Path

from tests.local_mode.harness import start_service


def test_a_home_that_is_removed_ends_its_service(tmp_path: Path) -> None:
    """A service without its home says so in one line and ends, instead of answering from nothing."""
    home = tmp_path / "home"
    service = start_service(home)
    try:
        shutil.rmtree(home)
        _, errors = service.process.communicate(timeout=30)
    finally:
        service.close()
    assert service.process.returncode == 1
    assert errors == f"local_mode: the home {home} was removed or replaced: its service ends\n"
