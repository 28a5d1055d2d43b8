"""What programs leave behind: any kind of file, under any name, in any number, and any way to end."""

import re
import tarfile
from itertools import chain
from pathlib import Path

import pytest

from tests.engines.harness import BUCKET, ENDED, LocalSageMaker, polls
from tests.engines.images import Images, request_for

pytestmark = [pytest.mark.slow, pytest.mark.docker]

MIB = 1 << 20

ODD_FILES = r"""#!/usr/bin/perl
use strict; use warnings;
chdir "/opt/ml/model" or die;
sub put { open my $f, ">", $_[0] or die "$_[0]: $!"; print $f $_[1]; close $f }
umask 0077;
put "secret", "s"; chmod 0, "secret";
mkdir "locked"; put "locked/inner", "i"; chmod 0, "locked";
put "setuid", "x"; chmod 04755, "setuid";
put "first", "shared"; link "first", "second"; mkdir "sub"; link "first", "sub/third";
symlink "first", "inside"; symlink "../first", "sub/up"; symlink "/opt/ml/model/first", "absolute";
symlink "loop-b", "loop-a"; symlink "loop-a", "loop-b"; symlink ".", "self"; symlink "nowhere", "dangling";
symlink "/etc/passwd", "outside"; symlink "../output", "sideways"; link "outside", "outside-too";
put "two\nlines", "n"; put "caf\xc3\xa9", "u"; put "bytes \xff", "b"; put "-rf", "d"; put " ", "s";
put "x" x 255, "long"; put "\xe4\xb8\x96" x 85, "wide";
system "mkfifo pipe; mknod zero c 1 5; mknod disk b 7 0";
socket my $s, 1, 1, 0 or die; bind $s, pack("Sa*", 1, "socket") or die;
my $deep = "."; for (1 .. 60) { $deep .= "/" . "d" x 60; mkdir $deep or die } put "$deep/bottom", "deep";
open my $hole, ">", "hole"; truncate $hole, 1 << 31;
seek $hole, 1 << 30, 0; print $hole "middle"; close $hole;
put "/outside", "o"; put "/opt/ml/outside", "o"; put "/tmp/outside", "o";
"""


def resident(pid: int) -> int:
    """The most memory that a process ever held, in bytes."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    assert match is not None
    return int(match[1]) * 1024


def test_any_kind_of_file(docker_service: LocalSageMaker, images: Images, tmp_path: Path) -> None:
    """Modes, links, holes, names of any bytes come back as they were; what is no file is named in the log."""
    before = resident(docker_service.process.pid)
    image = images.script("odd-files", ODD_FILES)
    description = docker_service.run(request_for(docker_service, "odd-files", image))
    log = docker_service.log("odd-files")
    assert description["TrainingJobStatus"] == "Completed", log
    assert resident(docker_service.process.pid) - before < 100 * MIB  # a hole of 2 GiB
    assert sorted(line.split(" was left out")[0].rpartition("/")[2] for line in log) == [
        *("disk", "outside", "outside-too", "pipe", "sideways", "zero")
    ]

    archive = tmp_path / "model.tar.gz"
    key = description["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{BUCKET}/")
    docker_service.client("s3").download_file(BUCKET, key, str(archive))
    assert archive.stat().st_size < 20 * MIB
    model = tmp_path / "model"
    with tarfile.open(archive) as packed:
        sizes = {info.name: info.size for info in packed}
        packed.extractall(
            model, filter="data", members=[info for info in packed.getmembers() if info.name != "hole"]
        )
        hole = packed.extractfile("hole")
        assert hole is not None
        hole.seek(1 << 30)
        assert hole.read(8) == b"middle\0\0"
    assert sizes["hole"] == 1 << 31
    wide = "\u4e16" * 85
    contents = {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}
    expected = {"secret": b"s", "setuid": b"x", "x" * 255: b"long", wide: b"wide"}
    expected |= dict.fromkeys(("first", "second", "inside", "absolute"), b"shared")
    expected |= {"two\nlines": b"n", "café": b"u", "bytes \udcff": b"b", "-rf": b"d", " ": b"s"}
    assert contents == expected
    assert (model / "locked" / "inner").read_text() == "i"
    assert (model / "sub" / "third").read_text() == (model / "sub" / "up").read_text() == "shared"
    links = {name: (model / name).readlink().as_posix() for name in ("loop-a", "loop-b", "self", "dangling")}
    assert links == {"loop-a": "loop-b", "loop-b": "loop-a", "self": ".", "dangling": "nowhere"}
    assert (model / "/".join(["d" * 60] * 60) / "bottom").read_text() == "deep"


MANY = """\
#!/usr/bin/perl
chdir "/opt/ml/model";
for my $folder (0 .. 99) {
    mkdir $folder;
    for my $file (0 .. 999) { open my $f, ">", "$folder/$file"; print $f $file; close $f }
}
"""


def test_a_hundred_thousand_files(docker_service: LocalSageMaker, images: Images, tmp_path: Path) -> None:
    """A model of 100,000 small files is packed, and not in memory; Docker takes most of the time."""
    before = resident(docker_service.process.pid)
    name = docker_service.create(request_for(docker_service, "many", images.script("many", MANY)))
    for _ in chain(polls(), polls()):  # 30 s on two idle cores
        description = docker_service.describe(name)
        if description["TrainingJobStatus"] in ENDED:
            break
    assert description["TrainingJobStatus"] == "Completed", description
    assert resident(docker_service.process.pid) - before < 100 * MIB
    archive = tmp_path / "model.tar.gz"
    docker_service.client("s3").download_file(BUCKET, f"results/{name}/output/model.tar.gz", str(archive))
    with tarfile.open(archive) as packed:
        sizes = [info.size for info in packed if info.isreg()]
    assert len(sizes) == 100_000
    assert sum(sizes) == 100 * sum(len(str(number)) for number in range(1000))


REPLACED = """\
rm -rf /opt/ml/model /opt/ml/output/data /opt/ml/input /opt/ml/code
ln -s /etc /opt/ml/model
echo file > /opt/ml/output/data
mkdir /opt/ml/output/failure; echo inner > /opt/ml/output/failure/failure
exit 3
"""


def test_a_tree_turned_over(docker_service: LocalSageMaker, images: Images) -> None:
    """Links and files in the place of the tree's folders give no archive, and a folder no reason."""
    image = images.script("replaced", REPLACED)
    description = docker_service.run(request_for(docker_service, "replaced", image))
    assert description["TrainingJobStatus"] == "Failed"
    assert description["FailureReason"].endswith("wrote no /opt/ml/output/failure, exit code: 3")
    found = docker_service.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="results/replaced/")
    assert found["KeyCount"] == 0


def test_a_daemon_ends_with_its_job(docker_service: LocalSageMaker, images: Images) -> None:
    """A process that the program leaves behind, its output open, neither holds the job nor outlives it."""
    script = "setsid sleep 6543 & echo w > /opt/ml/model/w; echo done"
    description = docker_service.run(request_for(docker_service, "daemon", images.script("daemon", script)))
    assert description["TrainingJobStatus"] == "Completed"
    assert docker_service.log("daemon") == ["done"]
    assert description["TrainingTimeInSeconds"] < 30
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert b"sleep\x006543\0" not in commands


def test_a_program_without_output(docker_service: LocalSageMaker, images: Images) -> None:
    """A program that closes its output goes on, and its model is taken."""
    script = "exec >&- 2>&-; sleep 1; echo lost; echo w > /opt/ml/model/w"
    description = docker_service.run(request_for(docker_service, "mute", images.script("mute", script)))
    assert description["TrainingJobStatus"] == "Completed"
    assert docker_service.log("mute") == []
    assert "S3ModelArtifacts" in description["ModelArtifacts"]


def test_exit_codes(docker_service: LocalSageMaker, images: Images) -> None:
    """Zero is success and nothing else is; the reason names the code, with the failure file's own words."""
    image = images.script("codes", 'echo why > /opt/ml/output/failure; exit "$CODE"')
    codes = (0, 1, 2, 100, 125, 126, 127, 128, 137, 143, 200, 255)
    for code in codes:
        request = request_for(docker_service, f"code-{code}", image, Environment={"CODE": str(code)})
        docker_service.create(request)
    for code in codes:
        description = docker_service.finish(f"code-{code}")
        if code == 0:
            assert description["TrainingJobStatus"] == "Completed"
            assert "FailureReason" not in description
        else:
            assert description["TrainingJobStatus"] == "Failed"
            assert description["FailureReason"] == f"AlgorithmError: why, exit code: {code}"
    assert not [each for each in docker_service.leftovers() if "code-" in each]
