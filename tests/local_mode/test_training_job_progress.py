"""The log of a job that is taken over: cut anywhere, it goes on without an event lost or twice."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_mode.engines.base import STDERR, STDOUT, skipped
from local_mode.logs import LogStore
from local_mode.store import TrainingJobStore
from local_mode.training_jobs import log as log_module
from local_mode.training_jobs.log import LOG_GROUP, HostLog
from local_mode.training_jobs.record import Progress

NAME = "job"
PIECES = (
    b"a line value=1\n",
    b"\n",
    b"\r\n",
    b"\rprogress 10 %",
    b"progress 20 %\r",
    b"\xff\xfe",
    "größer value=2\n".encode(),
    b"x" * 300_000 + b"\n",
    b"half a li",
    b"value=3\r\n",
)
Chunks = list[tuple[int, bytes]]


class KilledError(Exception):
    """Stands for SIGKILL: nothing of the reader survives but what it wrote."""


def host_log(folder: Path, saved: list[Progress], stream: str | None = None) -> tuple[HostLog, LogStore]:
    store = TrainingJobStore(folder / "jobs.sqlite")
    if not store.all():
        store.create(name=NAME, arn="arn", request={}, message="")
    logs = LogStore(folder / "logs")
    definitions = [{"Name": "value", "Regex": "value=([0-9]+)"}]
    log = HostLog(
        job_name=NAME,
        host="algo-1",
        logs=logs,
        store=store,
        definitions=definitions,
        save=saved.append,
        stream=stream,
    )
    return log, logs


def events(logs: LogStore, log: HostLog) -> list[str]:
    return [event.message for event in logs.stream(LOG_GROUP, log.stream).events(0, 1 << 30)]


def metrics(folder: Path) -> list[float]:
    store = TrainingJobStore(folder / "jobs.sqlite")
    try:
        return [each.value for each in store.metrics(NAME)]
    finally:
        store.close()


def cut(dice: random.Random, outputs: dict[int, bytes]) -> Chunks:
    """The two outputs in pieces of any length, mixed as it comes; each in its own order."""
    chunks: Chunks = []
    left = dict(outputs)
    while left:
        stream = dice.choice(list(left))
        size = dice.choice((1, 2, 7, 1000, 65536))
        chunks.append((stream, left[stream][:size]))
        left[stream] = left[stream][size:]
        if not left[stream]:
            del left[stream]
    return chunks


def until_killed(chunks: Chunks, count: int) -> Iterator[tuple[int, bytes]]:
    yield from chunks[:count]
    raise KilledError


@pytest.mark.parametrize("seed", range(25))
def test_a_log_goes_on_where_it_was(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was printed and wherever the reader died, both outputs' lines are in the log once."""
    dice = random.Random(seed)
    # Sometimes every place is saved, sometimes hardly any.
    monkeypatch.setattr(log_module, "_SAVE_SECONDS", dice.choice((0.0, 1000.0)))
    outputs = {
        stream: b"".join(dice.choice(PIECES) for _ in range(dice.randint(0, 12)))
        for stream in (STDOUT, STDERR)
    }
    outputs = {stream: data for stream, data in outputs.items() if data}

    # Each output alone, read without an interruption: what its lines are.
    whole: list[str] = []
    for stream, data in outputs.items():
        folder = tmp_path / f"whole-{stream}"
        folder.mkdir()
        log, logs = host_log(folder, [])
        log.relay([(stream, data)])
        whole += events(logs, log)

    folder = tmp_path / "killed"
    folder.mkdir()
    saved: list[Progress] = []
    log, logs = host_log(folder, saved)
    log.keep_place()
    for _ in range(3):
        chunks = list(skipped(cut(dice, outputs), log.read))
        with pytest.raises(KilledError):
            log.relay(until_killed(chunks, dice.randint(0, len(chunks))))
        log, logs = host_log(folder, saved, saved[-1].stream)
        log.resume(saved[-1])
    log.relay(skipped(cut(dice, outputs), log.read))
    assert sorted(events(logs, log)) == sorted(whole)
    expected = sum(data.count(b"value=") for data in outputs.values())
    assert len(metrics(folder)) <= expected
    assert sorted(metrics(folder)) == sorted(
        float(line.rpartition("value=")[2]) for line in whole if "value=" in line
    )
