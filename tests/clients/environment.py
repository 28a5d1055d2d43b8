"""Each client's own environment below build/clients/NAME, made once from its hash-locked requirements."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENTS = REPOSITORY / "build" / "clients"
REQUIREMENTS = REPOSITORY / "requirements" / "clients"
_INSTALL_SECONDS = 280  # within a test's own limit


class UnavailableError(Exception):
    """The environment cannot be made here; the message says why, in one line."""


def programs_of(name: str) -> Path:
    """The `bin` folder of a client's environment; installed first where its lock file asks for others.

    Raises UnavailableError, as without a network.
    """
    lock = REQUIREMENTS / f"{name}.txt"
    folder = ENVIRONMENTS / name
    stamp = folder / "installed"
    wanted = f"{hashlib.sha256(lock.read_bytes()).hexdigest()} {sys.version}"
    if not stamp.is_file() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        # uv, of requirements/dev.txt: it takes seconds where pip takes minutes.
        uv = [sys.executable, "-m", "uv", "--no-progress"]
        python = folder / "bin" / "python"
        _run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], name)
        install = ["pip", "install", "--quiet", "--require-hashes", "--no-deps"]
        _run([*uv, *install, "--python", str(python), "--requirements", str(lock)], name)
        stamp.write_text(wanted)
    return folder / "bin"


def _run(command: list[str], name: str) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
            env={**os.environ, "UV_HTTP_TIMEOUT": "60"},
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{name}: not installed within {_INSTALL_SECONDS} s") from error
    if done.returncode != 0:
        reason = " ".join(done.stderr.split())
        raise UnavailableError(f"{name} cannot be installed (without a network it cannot be): {reason:.500}")
