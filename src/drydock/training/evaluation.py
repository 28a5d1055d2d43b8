"""Scores over a data set: sums over its images, divided by their number once, at the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from drydock.data.loading import Batches
from drydock.data.preprocessing import Preprocessing
from drydock.metrics import Scores
from drydock.training.precision import Precision
from drydock.training.stopping import Stop

TOP = 5


class Normaliser:
    """uint8 batches -> the network's input on `device`, the same as `Preprocessing.normalise`."""

    def __init__(self, preprocessing: Preprocessing, device: torch.device, precision: Precision) -> None:
        self.device = device
        self._memory_format = precision.memory_format
        self._mean = torch.tensor(preprocessing.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(preprocessing.std, device=device).view(1, 3, 1, 1)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        images = images.to(self.device, non_blocking=True)
        scaled = images.float().div_(255).sub_(self._mean).div_(self._std)
        return scaled.contiguous(memory_format=self._memory_format)


class Tally:
    """Running sums of what Scores are made of; they stay on the device until asked for."""

    def __init__(self, classes: int, values: Sequence[float] | None, device: torch.device) -> None:
        self.images = 0
        self._top = classes > TOP
        self._values = None if values is None else torch.tensor(values, dtype=torch.float64, device=device)
        # loss, right answers, right in the top five, squared error of the answer, of the expected count
        self._sums = torch.zeros(5, dtype=torch.float64, device=device)

    def add(self, logits: torch.Tensor, labels: torch.Tensor, losses: torch.Tensor) -> None:
        """Count a batch: logits [batch, classes], labels [batch], losses [batch] before any mean."""
        predicted = logits.argmax(1)
        self.images += len(labels)
        self._sums[0] += losses.double().sum()
        self._sums[1] += (predicted == labels).sum()
        if self._top:
            self._sums[2] += (logits.topk(TOP, dim=1).indices == labels[:, None]).sum()
        if self._values is not None:
            true = self._values[labels]
            self._sums[3] += (self._values[predicted] - true).square().sum()
            expected = torch.softmax(logits.double(), dim=1) @ self._values
            self._sums[4] += (expected - true).square().sum()

    def scores(self) -> Scores:
        """The means so far; of no images there are none (ZeroDivisionError)."""
        loss, accuracy, top5, error, expected_error = (
            total / self.images for total in self._sums.cpu().tolist()
        )
        numeric = self._values is not None
        return Scores(
            images=self.images,
            loss=loss,
            accuracy=accuracy,
            top5_accuracy=top5 if self._top else None,
            rmse=error**0.5 if numeric else None,
            expected_count_rmse=expected_error**0.5 if numeric else None,
        )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a network answers to a data set; the arrays are by sample, in the data set's order."""

    scores: Scores
    labels: NDArray[np.int64]  # [images]
    predicted: NDArray[np.int64]  # [images], the most probable class
    probabilities: NDArray[np.float32]  # [images], of that class
    losses: NDArray[np.float32]  # [images], cross-entropy
    classes: int

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Images by true class (rows) and predicted class (columns)."""
        matrix = np.zeros((self.classes, self.classes), dtype=np.int64)
        np.add.at(matrix, (self.labels, self.predicted), 1)
        return matrix


def evaluate(
    model: nn.Module,
    batches: Batches,
    *,
    classes: int,
    values: Sequence[float] | None,
    normalise: Normaliser,
    precision: Precision,
    stop: Stop,
) -> Evaluation:
    """Run all of `batches` through `model`. Raises StopRequested between two batches."""
    device = normalise.device
    model.eval()
    tally = Tally(classes, values, device)
    collected: list[torch.Tensor] = []
    with torch.inference_mode():
        for images, batch_labels, indices in batches.epoch(0):
            stop.check()
            labels = batch_labels.to(device)
            with precision.autocast(device):
                logits = model(normalise(images))
            logits = logits.float()
            losses = nn.functional.cross_entropy(logits, labels, reduction="none")
            tally.add(logits, labels, losses)
            confidence, predicted = logits.softmax(1).max(1)
            # Whole numbers below 2**24 are exact in float64; one tensor is one transfer.
            columns = (indices.to(device), labels, predicted, confidence, losses)
            collected.append(torch.stack([column.double() for column in columns]))
    columns_by_sample = torch.cat(collected, dim=1).cpu().numpy()
    columns_by_sample = columns_by_sample[:, np.argsort(columns_by_sample[0])]
    return Evaluation(
        scores=tally.scores(),
        labels=columns_by_sample[1].astype(np.int64),
        predicted=columns_by_sample[2].astype(np.int64),
        probabilities=columns_by_sample[3].astype(np.float32),
        losses=columns_by_sample[4].astype(np.float32),
        classes=classes,
    )


def by_class(evaluation: Evaluation, class_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Per class: images, accuracy (the part of them answered right: the recall), precision, F1.

    A ratio without a case (no image of the class, or none answered as it) is None.
    """
    confusion = evaluation.confusion
    result: dict[str, dict[str, Any]] = {}
    for label, name in enumerate(class_names):
        right = int(confusion[label, label])
        images, answered = int(confusion[label].sum()), int(confusion[:, label].sum())
        recall = right / images if images else None
        precision = right / answered if answered else None
        f1 = 2 * right / (images + answered) if images + answered else None
        result[name] = {
            "images": images,
            "accuracy": recall,
            "recall": recall,
            "precision": precision,
            "f1": f1,
        }
    return result
