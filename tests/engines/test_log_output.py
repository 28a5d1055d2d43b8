"""The log of a job: complete, in order and in time, whatever a program prints and however fast."""

import re
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.engines.harness import ENDED, LocalSageMaker, polls
from tests.engines.images import Images, request_for
from tests.engines.streams import pages

pytestmark = [pytest.mark.slow, pytest.mark.docker]

NO_MODEL = "[drydock] the program left nothing in /opt/ml/model: no model.tar.gz is uploaded"
LOSS = {"MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]}
MIB = 1 << 20


ODD = r"""#!/usr/bin/perl
sub pause { select undef, undef, undef, $_[0] }
sub out { syswrite STDOUT, $_[0]; pause 0.05 }
sub err { syswrite STDERR, $_[0]; pause 0.05 }
out "epoch 1 lo"; pause 0.5; out "ss=0."; pause 0.5; out "5\n";
out "10%\r50%\r100%\r\n";
out "\e[1;31mred\e[0m\n";
out "nul \0 here\n";
out "latin \xe9\xff\n";
out "caf\xc3"; out "\xa9\n";
out "\n";
out "out 1\nout half"; err "err 1\nerr half"; out " 2\n"; err " 2\n";
out "x" x 70000; out "loss=0.25\n";
out "y" x 300000; out "loss=0.125\n";
out "the end loss=0.0625";
"""


def test_odd_output_is_kept(docker_service: LocalSageMaker, images: Images) -> None:
    """Halves of lines, bars, colours, NULs, bytes of no alphabet, long lines: the log has all, in order."""
    # One metric a place in the log: where each line is searched as a whole, each has its value.
    places = {"cut": "epoch 1 ", "long": "x", "longer": "y", "last": "the end "}
    definitions = [{"Name": name, "Regex": f"{place}loss=([0-9.]+)"} for name, place in places.items()]
    algorithm = {"MetricDefinitions": definitions}
    request = request_for(docker_service, "odd", images.script("odd", ODD), Algorithm=algorithm)
    description = docker_service.run(request)
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    *log, note = docker_service.log("odd")
    assert note == NO_MODEL
    errors = [line for line in log if line.startswith("err ")]
    assert errors == ["err 1", "err half 2"]
    long = "y" * 300_000 + "loss=0.125"
    assert (
        [line for line in log if line not in errors]
        == [
            "epoch 1 loss=0.5",
            *("10%", "50%", "100%"),
            "\x1b[1;31mred\x1b[0m",
            "nul \0 here",
            "latin \ufffd\ufffd",
            "café",
            " ",  # CloudWatch takes no empty message
            *("out 1", "out half 2"),
            "x" * 70_000 + "loss=0.25",
            *(long[:262_144], long[262_144:]),
            "the end loss=0.0625",
        ]
    )
    values = {each["MetricName"]: each["Value"] for each in description["FinalMetricDataList"]}
    assert values == {"cut": 0.5, "long": 0.25, "longer": 0.125, "last": 0.0625}


LINES = 300_000
FLOOD = f"""\
#!/usr/bin/perl
for my $n (1 .. {LINES}) {{
    print "line $n of the flood ", "x" x 60, "\\n";
    print "loss=$n\\n" if $n % 10000 == 0;
}}
"""


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    assert match is not None
    return int(match[1]) * 1024


def watch(service: LocalSageMaker, name: str) -> tuple[float, int]:
    """Until the job has ended: the slowest DescribeTrainingJob in s, the service's peak in bytes."""
    slowest, peak = 0.0, 0
    sagemaker = service.client("sagemaker")
    for _ in polls():
        started = time.monotonic()
        status = sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
        slowest = max(slowest, time.monotonic() - started)
        peak = max(peak, resident(service.process.pid))
        if status in ENDED:
            return slowest, peak
    raise AssertionError(f"{name} has not ended")


def test_a_flood_of_lines(docker_service: LocalSageMaker, images: Images) -> None:
    """As many lines as a program can print: none is lost or out of place, and the service stays itself."""
    request = request_for(docker_service, "flood", images.script("flood", FLOOD), Algorithm=LOSS)
    before = resident(docker_service.process.pid)
    slowest, peak = watch(docker_service, docker_service.create(request))
    description = docker_service.describe("flood")
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    assert slowest < 1
    assert peak - before < 100 * MIB
    assert [each["Value"] for each in description["FinalMetricDataList"]] == [LINES]

    numbers, events = [], 0
    for page in pages(docker_service, "flood"):
        if not page:
            break
        assert len(page) <= 10_000
        assert sum(len(event["message"]) + 26 for event in page) <= MIB
        events += len(page)
        numbers += [int(event["message"].split()[1]) for event in page if event["message"].startswith("line")]
        assert all(a["timestamp"] <= b["timestamp"] for a, b in pairwise(page))
    assert numbers == list(range(1, LINES + 1))
    assert events == LINES + LINES // 10_000 + 1  # the last one says that there is no model


BINARY = """\
#!/usr/bin/perl
open my $noise, "<", "/dev/urandom"; my $block;
for (1 .. 10) { sysread $noise, $block, 1 << 20; print $block; }
print "z" x (1 << 20) for 1 .. 10;
exit 3;
"""


def test_binary_output(docker_service: LocalSageMaker, images: Images) -> None:
    """10 MB of noise and 10 MB without a newline are a log like any other, and no reason to break."""
    before = resident(docker_service.process.pid)
    request = request_for(docker_service, "binary", images.script("binary", BINARY), Algorithm=LOSS)
    slowest, peak = watch(docker_service, docker_service.create(request))
    description = docker_service.describe("binary")
    assert description["TrainingJobStatus"] == "Failed"
    assert description["FailureReason"].startswith("AlgorithmError: ")
    assert description["FailureReason"].endswith("zzz, exit code: 3")
    assert len(description["FailureReason"]) <= 1024
    assert slowest < 1
    assert peak - before < 200 * MIB
    log = docker_service.log("binary")
    assert sum(line.count("z") for line in log) >= 10 * MIB
    assert max(len(line.encode()) for line in log) <= 256 * 1024
