"""The whole program, as a process on a tree of its own."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drydock.artifact import load_model
from drydock.contract import EXIT_USER_ERROR, Tree
from drydock.metrics import METRICS

FAST = {"arch": "small_cnn", "epochs": "2", "batch-size": "8", "image-size": "32", "seed": "3"}


def draw_channel(folder: Path, *, classes: int = 2, images: int = 12) -> None:
    """Images whose brightness tells their class."""
    generator = np.random.default_rng(classes)
    for label in range(1, classes + 1):
        (folder / str(label)).mkdir(parents=True)
        for index in range(images):
            pixels = generator.integers(0, 60, (40, 30, 3)) + label * 150 // classes
            Image.fromarray(pixels.astype(np.uint8)).save(folder / str(label) / f"{index}-{label}.jpg")


def make_tree(base: Path, hyperparameters: Mapping[str, str], *, classes: int = 2, images: int = 12) -> Tree:
    tree = Tree(base=base)
    draw_channel(tree.channel("train"), classes=classes, images=images)
    tree.config.mkdir(parents=True)
    tree.hyperparameters_file.write_text(json.dumps({**FAST, **hyperparameters}))
    return tree


def environment(tree: Tree) -> dict[str, str]:
    return {**os.environ, "SAGEMAKER_BASE_DIR": str(tree.base), "OMP_NUM_THREADS": "1"}


def run(tree: Tree, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "drydock.training", *arguments],
        env=environment(tree),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


@pytest.mark.slow
def test_a_run_leaves_artifact_metrics_history_and_pictures(tmp_path: Path) -> None:
    """One run with a test set: log lines, all files, and scores that agree between them."""
    tree = make_tree(tmp_path / "ml", {"test-fraction": "0.25"}, classes=6)
    done = run(tree)
    assert done.returncode == 0, done.stderr
    assert not tree.failure_file.exists()
    names = [name for name in METRICS if any(METRICS[name].find(line) for line in done.stdout.splitlines())]
    assert names == list(METRICS)
    assert sorted(path.name for path in tree.output_data.iterdir()) == [
        "accuracy.png",
        "confusion.png",
        "history.csv",
        "loss.png",
        "metrics.json",
        "worst.png",
    ]
    for path in tree.output_data.glob("*.png"):
        with Image.open(path) as picture:
            picture.verify()
    document = json.loads((tree.output_data / "metrics.json").read_text())
    logged = next(
        value
        for line in done.stdout.splitlines()
        if (value := METRICS["test:accuracy"].find(line)) is not None
    )
    assert document["test"]["scores"]["accuracy"] == pytest.approx(logged, abs=5e-5)
    assert sum(map(sum, document["test"]["confusion"])) == document["images"]["test"] == 18
    with (tree.output_data / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    _, metadata = load_model(tree.model)
    assert metadata.class_names == ("1", "2", "3", "4", "5", "6")
    assert metadata.metrics["test"] == document["test"]["scores"]


@pytest.mark.slow
def test_two_runs_with_one_seed_are_equal(tmp_path: Path) -> None:
    """Weights and metrics are equal bit for bit, also with another number of workers."""
    weights, scores = [], []
    for number, workers in enumerate(("0", "2")):
        tree = make_tree(tmp_path / str(number), {"workers": workers})
        done = run(tree)
        assert done.returncode == 0, done.stderr
        weights.append((tree.model / "model.safetensors").read_bytes())
        scores.append([line for line in done.stdout.splitlines() if " set: " in line])
    assert weights[0] == weights[1]
    assert scores[0] == scores[1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_stop_keeps_the_best_weights_and_ends_well(tmp_path: Path, workers: str) -> None:
    """SIGTERM to the whole group after an epoch: artifact and reports of what was done, exit code 0."""
    tree = make_tree(tmp_path / "ml", {"epochs": "10000", "workers": workers})
    with subprocess.Popen(
        [sys.executable, "-m", "drydock.training"],
        env=environment(tree),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Epoch 2 of"):
                os.killpg(process.pid, signal.SIGTERM)
                break
        rest = process.stdout.read()
        assert process.wait(60) == 0, rest
    assert "Stopped by SIGTERM" in rest
    document = json.loads((tree.output_data / "metrics.json").read_text())
    assert document["stopped_by"] == "SIGTERM"
    assert load_model(tree.model)[1].metrics["validation"] == document["validation"]["scores"]


def remove_train(tree: Tree) -> None:
    tree.channel("train").rename(tree.base / "elsewhere")


def remove_class(tree: Tree) -> None:
    (tree.channel("train") / "2").rename(tree.base / "elsewhere")


def spoil(tree: Tree) -> None:
    (tree.channel("train") / "1" / "note.jpg").write_text("no image")


def add_host(tree: Tree) -> None:
    tree.resource_config_file.write_text(
        json.dumps({"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]})
    )


def name_channel(tree: Tree) -> None:
    tree.input_data_config_file.write_text(json.dumps({"train": {}, "validation": {}}))


def set_strings(**strings: str) -> Callable[[Tree], None]:
    def write(tree: Tree) -> None:
        tree.hyperparameters_file.write_text(json.dumps({**FAST, **strings}))

    return write


@pytest.mark.slow
@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (remove_train, "channel train: no folder"),
        (remove_class, "one class folder only (1)"),
        (spoil, "1 of 25 files (4.0%) cannot be read as images"),
        (add_host, "trains on one host, the job has 2"),
        (name_channel, "channel validation: no folder"),
        (set_strings(freeze="9"), "freeze=9: small_cnn has 4 stages"),
        (set_strings(lr="nan"), "lr=nan: expected a number"),
        # Weight decay at this rate multiplies the weights by -999 a step.
        (set_strings(lr="100", weight_decay="10", optimizer="sgd", epochs="20"), "the training diverged"),
    ],
)
def test_bad_input_gives_one_line_and_the_failure_file(
    tmp_path: Path, break_it: Callable[[Tree], None], message: str
) -> None:
    """Each ends with the user's exit code; the same one line is on stderr and in the failure file."""
    tree = make_tree(tmp_path / "ml", {})
    break_it(tree)
    begin = time.monotonic()
    done = run(tree)
    assert done.returncode == EXIT_USER_ERROR, done.stdout + done.stderr
    failure = tree.failure_file.read_text()
    assert message in failure
    assert failure.count("\n") == 1
    assert done.stderr == failure
    assert time.monotonic() - begin < 120


def test_a_wrong_hyperparameter_is_answered_before_torch_is_loaded(tmp_path: Path) -> None:
    """An unknown name on the command line fails at once, with the nearest name."""
    tree = Tree(base=tmp_path)
    done = run(tree, "--epoch", "3")
    assert done.returncode == EXIT_USER_ERROR
    assert tree.failure_file.read_text() == "unknown hyperparameter epoch: did you mean epochs?\n"
