"""Engines: where the hosts of jobs run."""

from collections.abc import Collection

from local_mode.engines.base import Engine, EngineUnavailableError, Listeners
from local_mode.engines.process import ProcessEngine
from local_mode.home import Home

AUTO, DOCKER, PROCESS = "auto", "docker", "process"


def choose_engine(name: str, *, home: Home, endpoint: str, listeners: Listeners) -> tuple[Engine, str]:
    """The engine of that name and why it was taken; `auto` is docker where that answers, else process.

    Raises EngineUnavailableError where docker is asked for by name and does not answer.
    """
    process = ProcessEngine(jobs=home.jobs, endpoint=endpoint, listeners=listeners)
    if name == PROCESS:
        return process, "asked for"
    if name not in {AUTO, DOCKER}:
        raise ValueError(f"unknown engine {name!r}: auto, docker or process")
    try:
        # The docker SDK is imported only where it is wanted.
        from local_mode.engines.docker import DockerEngine  # noqa: PLC0415

        docker = DockerEngine.connect(home=home.root, listeners=listeners)
    except EngineUnavailableError as error:
        if name == DOCKER:
            raise
        return process, f"no Docker engine answers: {error}"
    return docker, "asked for" if name == DOCKER else f"Docker {docker.version} answers"


def sweep(
    engine: Engine, *, home: Home, listeners: Listeners, keep: Collection[str] = (), was_docker: bool = False
) -> None:
    """Removes what hosts of an earlier service left, but for those of the jobs `keep`.

    `was_docker`: it had the docker engine. Raises EngineUnavailableError where that does not answer any more.
    """
    engine.sweep(keep)
    if engine.name == DOCKER:
        ProcessEngine(jobs=home.jobs, endpoint="", listeners=listeners).sweep(keep)
    elif was_docker:
        docker, _reason = choose_engine(DOCKER, home=home, endpoint="", listeners=listeners)
        try:
            docker.sweep(keep)
        finally:
            docker.close()
