"""`python -m local_mode.engines NAME`: the engine that NAME (auto, docker, process) stands for here.

Prints `docker` or `process`, and on stderr why `auto` took it; for the Makefile, which builds the image
for the one and installs the packages for the other before a job needs them.
"""

import sys

from local_mode.engines import AUTO, DOCKER, PROCESS
from local_mode.engines.base import EngineUnavailableError


def main(name: str) -> int:
    """The exit code: 0, or 2 where the engine asked for is unknown or does not answer."""
    if name == PROCESS:
        print(PROCESS)
        return 0
    if name not in {AUTO, DOCKER}:
        print(f"error: unknown engine {name!r}: auto, docker or process", file=sys.stderr)
        return 2
    # The docker SDK is imported only where it is wanted.
    from local_mode.engines.docker import DockerEngine  # noqa: PLC0415

    try:
        DockerEngine.probe()
    except EngineUnavailableError as error:
        if name == DOCKER:
            print(f"error: no Docker engine answers: {error}", file=sys.stderr)
            return 2
        print(f"no Docker engine answers ({error}): jobs run as processes", file=sys.stderr)
        print(PROCESS)
        return 0
    print(DOCKER)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2] or [AUTO]))
