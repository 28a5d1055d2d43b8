"""Engines: where the hosts of jobs run."""

from local_mode.engines.base import Engine, EngineUnavailableError, Listeners
from local_mode.engines.process import ProcessEngine
from local_mode.home import Home

AUTO, DOCKER, PROCESS = "auto", "docker", "process"


def choose_engine(name: str, *, home: Home, endpoint: str, listeners: Listeners) -> tuple[Engine, str]:
    """The engine of that name and why it was taken; `auto` is docker where that answers, else process.

    Raises EngineUnavailableError where docker is asked for by name and does not answer.
    """
    process = ProcessEngine(jobs=home.jobs, endpoint=endpoint)
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


def sweep(engine: Engine, *, home: Home) -> None:
    """Removes what hosts of an earlier service left; both kinds, for it may have had the other engine."""
    engine.sweep()
    if engine.name == DOCKER:
        ProcessEngine(jobs=home.jobs, endpoint="").sweep()
