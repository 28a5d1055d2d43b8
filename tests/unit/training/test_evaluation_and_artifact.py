"""True means, per-class scores, worst mistakes, and the artifact's round trip."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from drydock import artifact
from drydock.artifact import Metadata
from drydock.data.preprocessing import Preprocessing
from drydock.errors import UserError
from drydock.metrics import Scores
from drydock.models import MODELS
from drydock.training.evaluation import Evaluation, Tally, by_class
from drydock.training.machine import cores
from drydock.training.precision import choose
from drydock.training.reports import worst_mistakes

CPU = torch.device("cpu")


def test_scores_are_means_over_images_not_over_batches() -> None:
    """With batches of 5 and 1 the mean weighs each image once."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 7, generator=generator)
    labels = torch.tensor([0, 1, 2, 3, 4, 5])
    losses = nn.functional.cross_entropy(logits, labels, reduction="none")
    tally = Tally(7, tuple(range(7)), CPU)
    for part in (slice(0, 5), slice(5, 6)):
        tally.add(logits[part], labels[part], losses[part])
    scores = tally.scores()
    probabilities = logits.double().softmax(1).numpy()
    predicted = probabilities.argmax(1)
    top5 = np.argsort(-probabilities, axis=1)[:, :5]
    true = labels.numpy()
    assert scores.images == 6
    assert scores.loss == pytest.approx(losses.double().mean().item(), rel=1e-6)
    assert scores.accuracy == np.mean(predicted == true)
    assert scores.top5_accuracy == np.mean([label in row for label, row in zip(true, top5, strict=True)])
    assert scores.rmse == pytest.approx(math.sqrt(np.mean((predicted - true) ** 2)))
    expected = probabilities @ np.arange(7)
    assert scores.expected_count_rmse == pytest.approx(math.sqrt(np.mean((expected - true) ** 2)))


def test_top5_and_rmse_are_absent_where_they_make_no_sense() -> None:
    """Five classes have no top-5, names that are no numbers no RMSE."""
    tally = Tally(5, None, CPU)
    tally.add(torch.zeros(2, 5), torch.tensor([0, 1]), torch.ones(2))
    assert set(tally.scores().values) == {"loss", "accuracy"}


EVALUATION = Evaluation(
    scores=Scores(images=5, loss=1.24, accuracy=0.4, top5_accuracy=None, rmse=None, expected_count_rmse=None),
    labels=np.array([0, 0, 1, 2, 2]),
    predicted=np.array([0, 2, 1, 1, 1]),
    probabilities=np.full(5, 0.5, dtype=np.float32),
    losses=np.array([0.1, 1.0, 0.1, 2.0, 3.0], dtype=np.float32),
    classes=3,
)


def test_per_class_scores() -> None:
    """Recall, precision and F1 follow from the confusion matrix; a ratio without a case is None."""
    assert EVALUATION.confusion.tolist() == [[1, 0, 1], [0, 1, 0], [0, 2, 0]]
    scores = by_class(EVALUATION, ("a", "b", "c"))
    assert scores["a"] == {"images": 2, "accuracy": 0.5, "recall": 0.5, "precision": 1.0, "f1": 2 / 3}
    assert scores["b"]["precision"] == pytest.approx(1 / 3)
    assert scores["c"]["recall"] == 0


def test_worst_mistakes_are_those_furthest_off_then_of_the_highest_loss() -> None:
    """For counts the error of the count leads; for names the loss does."""
    assert worst_mistakes(EVALUATION, (1.0, 2.0, 3.0)) == [1, 4, 3]
    assert worst_mistakes(EVALUATION, None) == [4, 3, 1]


def metadata(name: str, classes: int) -> Metadata:
    return Metadata(
        architecture=name,
        class_names=tuple(str(number) for number in range(classes)),
        preprocessing=Preprocessing(size=32),
        metrics={"validation": {"loss": 0.5}},
        versions={"torch": "2"},
    )


def test_an_artifact_gives_back_the_same_logits(tmp_path: Path) -> None:
    """Saved and loaded, a network answers bit for bit the same, and model.json the same values."""
    model = MODELS["small_cnn"].build(4).eval()
    artifact.save(tmp_path, model, metadata("small_cnn", 4))
    loaded, read = artifact.load_model(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model(images), loaded(images))
    assert not loaded.training
    assert read.class_values == (0.0, 1.0, 2.0, 3.0)
    assert read.preprocessing == Preprocessing(size=32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_a_broken_artifact_is_refused_with_its_file(tmp_path: Path) -> None:
    """No model.json, a foreign one, and weights that are not those described are told apart."""
    with pytest.raises(UserError, match=r"no model\.json in"):
        artifact.load_model(tmp_path)
    artifact.save(tmp_path, MODELS["small_cnn"].build(4), metadata("small_cnn", 4))
    artifact.save_weights(tmp_path / artifact.WEIGHTS_FILE, MODELS["small_cnn"].build(4))
    with pytest.raises(UserError, match="its SHA-256 differs"):
        artifact.load_model(tmp_path)
    (tmp_path / artifact.METADATA_FILE).write_text("{}")
    with pytest.raises(UserError, match=r"is no drydock model\.json: KeyError"):
        artifact.load_model(tmp_path)


def test_cores_follow_the_containers_quota(tmp_path: Path) -> None:
    """A quota of 1.5 cores means 2 threads at most, none means the affinity."""
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert cores(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cores(tmp_path) == cores(tmp_path / "absent")


def test_precision_follows_the_request_and_the_hardware() -> None:
    """A request is followed; auto takes bf16 exactly where the CPU has a unit for it."""
    assert choose("fp32", CPU).name == "fp32"
    assert choose("bf16", CPU).name == "bf16"
    capabilities = torch.cpu.get_capabilities()
    has = any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    assert choose("auto", CPU).name == ("bf16" if has else "fp32")
