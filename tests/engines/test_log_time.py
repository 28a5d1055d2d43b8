"""The log of a job in time, on every engine."""

import statistics
import time

import pytest

from tests.engines.harness import LocalSageMaker
from tests.engines.streams import pages

pytestmark = pytest.mark.slow

TICKS = """\
import time
for _ in range(20):
    print(f"now {time.time():.3f}")
    time.sleep(0.2)
"""


def test_a_line_is_at_the_client_at_once(service: LocalSageMaker) -> None:
    """From print to a client that follows GetLogEvents a line takes half a second at most.

    The median is held to that; a machine that does other things at the same time may be late with one.
    """
    service.create(service.script("log-time", TICKS))
    delays: list[float] = []
    for page in pages(service, "log-time"):
        seen = time.time()
        lines = [event["message"] for event in page]
        delays += [seen - float(line.removeprefix("now ")) for line in lines if line.startswith("now ")]
        if len(delays) == 20:
            break
    service.finish("log-time")
    assert len(delays) == 20
    assert statistics.median(delays) < 0.5, delays
    assert max(delays) < 3, delays
