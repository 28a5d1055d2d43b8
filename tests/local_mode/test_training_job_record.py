"""What one service writes about a running job for the next one."""

from pathlib import Path

import pytest

from local_mode.training_jobs.endings import LOST
from local_mode.training_jobs.record import Progress, RunRecord


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Engine, progress and ending come back; a new host forgets the progress of the one before."""
    path = tmp_path / "job.json"
    record = RunRecord(path, engine="docker")
    progress = Progress(stream="job/algo-1-1", stdout=10, stderr=2, events=3, metrics=1)
    record.begin(engine="docker")
    record.save_progress(progress)
    record.save_ending(LOST)
    found = RunRecord(path, engine="process")
    assert (found.engine, found.progress, found.ending) == ("docker", progress, LOST)
    found.begin(engine="process")
    assert RunRecord(path, engine="docker").progress is None
    found.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", '{"progress": {"stream": "s", "pages": 3}}', "[1]", "\0\0\0"])
def test_a_record_that_is_damaged(tmp_path: Path, content: str) -> None:
    """A file that a power cut or another version left is as good as none: the service must start."""
    path = tmp_path / "job.json"
    path.write_text(content)
    record = RunRecord(path, engine="docker")
    assert (record.engine, record.progress, record.ending) == ("docker", None, None)
