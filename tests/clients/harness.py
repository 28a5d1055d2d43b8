"""Runs unmodified clients as programs of their own environments, against a real local SageMaker."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).resolve().parent / "programs"
BUCKET = "clients"
IMAGE = "drydock-train:latest"
ROLE = "arn:aws:iam::000000000000:role/clients"
# Small enough for seconds.
QUICK = {"arch": "small_cnn", "epochs": "1", "image-size": "32", "batch-size": "8", "warmup-epochs": "0"}
_PROGRAM_SECONDS = 200
_FOREIGN = ("AWS_", "DRYDOCK_", "SAGEMAKER_", "SM_", "PYTHON", "VIRTUAL_ENV", "http_proxy", "https_proxy")


@dataclass(frozen=True, kw_only=True)
class Client:
    """One client's environment, and what its programs are told."""

    programs: Path  # the environment's `bin`
    home: Path  # HOME: no configuration of the user's own
    variables: Mapping[str, str]

    def run(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """A program of the environment to its end, which must be a good one."""
        done = self.attempt(*command, **variables)
        said = f"{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{said}"
        return done

    def attempt(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """The same, whatever its end."""
        program, *arguments = command
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        return subprocess.run(
            [self.programs / program, *arguments],
            env={**environment, "HOME": str(self.home), **self.variables, **variables},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROGRAM_SECONDS,
            check=False,
        )

    def script(self, name: str, **given: Any) -> dict[str, Any]:
        """Runs programs/NAME.py with `given` as JSON.

        Returns the JSON that its last line holds, and as `output` all that it printed, to stdout first.
        """
        done = self.run("python", PROGRAMS / f"{name}.py", json.dumps(given))
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result | {"output": done.stdout + done.stderr}


@dataclass(kw_only=True)
class Proxy:
    """Stands where the internet would be: notes who asked for what, and refuses."""

    port: int
    asked: list[str] = field(default_factory=list)

    def variables(self) -> dict[str, str]:
        """The environment that leads every request but those to this machine to the proxy."""
        address = f"http://127.0.0.1:{self.port}"
        return {"HTTP_PROXY": address, "HTTPS_PROXY": address, "NO_PROXY": "127.0.0.1,localhost"}


@contextmanager
def refusing_proxy() -> Iterator[Proxy]:
    """A proxy on this machine that lets nothing through."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def refuse(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_error(403)

        do_CONNECT = do_GET = do_POST = do_PUT = do_HEAD = refuse  # noqa: N815  http.server's names

        def log_message(self, *_arguments: object) -> None:
            """Silent: `asked` has it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield Proxy(port=server.server_port, asked=asked)
        finally:
            server.shutdown()
            thread.join()
