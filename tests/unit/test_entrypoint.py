"""The entry point, run as the platform runs it: a process of its own, real signals, real scripts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drydock.contract import Tree

pytest.importorskip("sagemaker_training", reason="the process engine's packages are not installed")

DEADLINE_SECONDS = 60


@dataclass(kw_only=True)
class Job:
    """One tree below a temporary folder, and the entry point run on it."""

    tree: Tree
    variables: dict[str, str] = field(default_factory=dict)

    def script(self, text: str, name: str = "train.py") -> None:
        self.tree.code.mkdir(exist_ok=True)
        (self.tree.code / name).write_text(text)
        self.hyperparameters({"sagemaker_program": json.dumps(name)})

    def hyperparameters(self, values: dict[str, str]) -> None:
        known = json.loads(self.tree.hyperparameters_file.read_text())
        self.tree.hyperparameters_file.write_text(json.dumps(known | values))

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        environment = {
            **os.environ,
            "SAGEMAKER_BASE_DIR": str(self.tree.base),
            "SM_STUDIO_LOCAL_MODE": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
            **self.variables,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "drydock.training.entrypoint", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self) -> tuple[int, str]:
        process = self.start("train")
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
        return process.returncode, output

    @property
    def failure(self) -> str:
        return self.tree.failure_file.read_text()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    tree = Tree(base=tmp_path / "ml")
    for folder in (tree.config, tree.channel("train"), tree.model, tree.output_data):
        folder.mkdir(parents=True)
    tree.hyperparameters_file.write_text("{}")
    tree.input_data_config_file.write_text('{"train": {"TrainingInputMode": "File"}}')
    tree.resource_config_file.write_text('{"current_host": "algo-1", "hosts": ["algo-1"]}')
    return Job(tree=tree)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE_SECONDS} s for {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_script_gets_its_arguments_channels_and_submits_its_model(job: Job) -> None:
    """A user's script sees JSON-quoted hyperparameters as arguments, and the toolkit's SM_* variables."""
    job.script(
        "import argparse, os, pathlib\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--lr', type=float)\n"
        "parser.add_argument('--arch')\n"
        "args = parser.parse_args()\n"
        "assert pathlib.Path(os.environ['SM_CHANNEL_TRAIN']).is_dir()\n"
        "pathlib.Path(os.environ['SM_MODEL_DIR'], 'model.txt').write_text(f'{args.arch} {args.lr}')\n"
    )
    job.hyperparameters(
        {
            "lr": "0.25",
            "arch": '"tiny"',
            "sagemaker_container_log_level": "20",
            "sagemaker_region": '"us-east-1"',
        }
    )
    code, output = job.run()
    assert code == 0, output
    assert (job.tree.model / "model.txt").read_text() == "tiny 0.25"
    assert not job.tree.failure_file.exists()


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        ("raise ValueError('no such bin')", 1, "train.py failed (exit code 1): ValueError: no such bin"),
        ("import sys; sys.exit(7)", 7, "train.py failed (exit code 7); the job's log says more"),
        ("import os; os.kill(os.getpid(), 9)", 137, "train.py failed (ended by SIGKILL)"),
        ("import argparse; argparse.ArgumentParser().parse_args(['--x'])", 2, "unrecognized arguments: --x"),
    ],
)
def test_a_failing_script_keeps_its_exit_code_and_names_its_reason(
    job: Job, script: str, code: int, reason: str
) -> None:
    """The exit code of the script is the job's, and the failure file's first line says what went wrong."""
    job.script(script)
    seen, output = job.run()
    assert seen == code, output
    first, *rest = job.failure.splitlines()
    assert reason in first
    assert not rest or rest[0].startswith("Traceback")


def test_output_of_a_script_arrives_byte_for_byte(job: Job) -> None:
    """Long lines on standard error are neither cut nor reordered on their way through the toolkit."""
    job.script("import sys\nfor i in range(300):\n    sys.stderr.write(f'{i}:' + 'x' * 1000 + '\\n')\n")
    code, output = job.run()
    assert code == 0
    lines = [line for line in output.splitlines() if line.endswith("xxx")]
    assert lines == [f"{i}:" + "x" * 1000 for i in range(300)]


def test_a_missing_script_is_named(job: Job) -> None:
    """A sagemaker_program that is not in the submitted directory ends the job with its name."""
    job.script("", name="other.py")
    job.hyperparameters({"sagemaker_program": '"absent.py"'})
    code, _ = job.run()
    assert code != 0
    assert "absent.py" in job.failure.splitlines()[0]


def test_a_launcher_that_is_not_emulated_is_refused(job: Job) -> None:
    """SDK script mode's MPI launcher is refused by name instead of being run as one process."""
    job.script("print('must not run')")
    job.hyperparameters({"sagemaker_mpi_enabled": "true"})
    code, output = job.run()
    assert code == 2
    assert "sagemaker_mpi_enabled" in job.failure
    assert "must not run\n" not in output


@pytest.mark.slow
def test_requirements_that_cannot_be_installed_fail_the_job(job: Job) -> None:
    """A requirements.txt that pip refuses ends the job with pip's own complaint."""
    job.script("print('must not run')")
    (job.tree.code / "requirements.txt").write_text("./no-such-package\n")
    code, _ = job.run()
    assert code != 0
    assert "requirements.txt of train.py could not be installed" in job.failure
    assert "no-such-package" in job.failure.splitlines()[0]


@pytest.mark.slow
def test_requirements_are_installed_before_the_script(job: Job) -> None:
    """A package named in requirements.txt can be imported by the script."""
    package = job.tree.base / "package"
    package.mkdir()
    (package / "drydock_test_item.py").write_text("ITEM = 'tape'\n")
    (package / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'setuptools.build_meta'\n"
        "[project]\nname = 'drydock-test-item'\nversion = '1'\n"
        "[tool.setuptools]\npy-modules = ['drydock_test_item']\n"
    )
    site = job.tree.base / "site"
    job.variables |= {"PIP_TARGET": str(site), "PIP_NO_BUILD_ISOLATION": "0", "PYTHONPATH": str(site)}
    job.script("import drydock_test_item; print('item', drydock_test_item.ITEM)")
    (job.tree.code / "requirements.txt").write_text(f"{package}\n")
    code, output = job.run()
    assert code == 0, output
    assert "item tape" in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_reaches_the_script_and_waits_for_it(job: Job, number: signal.Signals) -> None:
    """The script gets the platform's signal, saves its checkpoint, and its own exit code is kept."""
    saved = job.tree.model / "checkpoint"
    ready = job.tree.base / "ready"
    job.script(
        "import pathlib, signal, sys, time\n"
        "def stop(number, frame):\n"
        "    time.sleep(0.5)\n"
        f"    pathlib.Path({str(saved)!r}).write_text('saved')\n"
        "    sys.exit(5)\n"
        f"signal.signal({int(number)}, stop)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "while True:\n"
        "    time.sleep(0.05)\n"
    )
    process = job.start("train")
    wait_for(ready.exists, "the script to be ready")
    process.send_signal(number)
    process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 5
    assert saved.read_text() == "saved"


def test_a_stop_waits_until_the_whole_group_is_gone(job: Job) -> None:
    """A grandchild that its parent leaves behind gets the signal and the time to finish its work."""
    saved = job.tree.model / "grandchild"
    ready = job.tree.base / "ready"
    child = (
        "import pathlib, signal, sys, time\n"
        "def stop(number, frame):\n"
        "    time.sleep(0.7)\n"
        f"    pathlib.Path({str(saved)!r}).write_text('saved')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(60)\n"
    )
    job.script(
        f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {child!r}])\ntime.sleep(60)\n"
    )
    process = job.start("train")
    wait_for(ready.exists, "the grandchild to be ready")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM
    assert saved.read_text() == "saved"


@pytest.mark.slow
def test_nothing_outlives_the_program(job: Job) -> None:
    """A daemon in a session of its own, deaf to SIGTERM, ends with the job."""
    pid_file = job.tree.base / "pid"
    daemon = (
        "import os, pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(pid_file)!r} + '.partial').write_text(str(os.getpid()))\n"
        f"os.rename({str(pid_file)!r} + '.partial', {str(pid_file)!r})\n"
        "time.sleep(120)\n"
    )
    job.script(
        "import pathlib, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {daemon!r}], start_new_session=True)\n"
        f"while not pathlib.Path({str(pid_file)!r}).exists():\n"
        "    time.sleep(0.02)\n"
    )
    code, output = job.run()
    assert code == 0, output
    assert not alive(int(pid_file.read_text()))


@pytest.mark.parametrize(
    ("hyperparameters", "reason"),
    [(None, "hyperparameters.json is missing"), ("{", "is not JSON"), ("[]", "must hold one JSON object")],
)
def test_a_broken_tree_is_explained(job: Job, hyperparameters: str | None, reason: str) -> None:
    """Missing or unreadable hyperparameters end the job with one line, in the log and in the failure file."""
    if hyperparameters is None:
        job.tree.hyperparameters_file.unlink()
    else:
        job.tree.hyperparameters_file.write_text(hyperparameters)
    code, output = job.run()
    assert code == 2
    assert reason in job.failure
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "a training image for Amazon SageMaker"),
        (("serve",), "drydock-serve"),
        (("x",), "knows `train` only"),
    ],
)
def test_other_commands_say_what_the_image_is_for(job: Job, arguments: tuple[str, ...], words: str) -> None:
    """No command, `serve` and unknown commands end non-zero with words that help."""
    process = job.start(*arguments)
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 2
    assert words in output


def test_without_a_tree_it_says_what_is_missing(tmp_path: Path) -> None:
    """`train` where there is no tree names the folder and creates nothing."""
    job = Job(tree=Tree(base=tmp_path / "absent"))
    code, output = job.run()
    assert code == 2
    assert f"{tmp_path / 'absent'} is missing" in output
    assert not (tmp_path / "absent").exists()
