"""What a person looks at after a run: curves, confusion matrix, worst mistakes, as PNG; history as CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from drydock.artifact import write_atomically
from drydock.data.image_folder import Sample
from drydock.data.preprocessing import Preprocessing
from drydock.metrics import Scores
from drydock.training.evaluation import Evaluation
from drydock.training.loop import History

# Colours that stay apart for the colour-blind (Okabe and Ito 2008).
_TRAIN, _VALIDATION, _BEST = "#0072B2", "#D55E00", "#666666"
_DPI = 120
_MOST_NUMBERS = 20  # classes up to which each cell of the confusion matrix shows its number
_MOST_NAMES = 60  # classes up to which the axes name each
_WORST_COLUMNS, _WORST_ROWS = 6, 3

_STYLE: dict[Any, Any] = {
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "axes.axisbelow": True,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.dpi": _DPI,
    "figure.constrained_layout.w_pad": 0.1,  # inches
    "figure.constrained_layout.h_pad": 0.1,
}


def write_history(path: Path, history: History) -> None:
    """One row an epoch; a metric that does not apply is an empty cell."""

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            keys = list(history.epochs[0].train.values) if history.epochs else ["loss", "accuracy"]
            writer.writerow(
                [
                    "epoch",
                    "lr",
                    "seconds",
                    "images_per_second",
                    *(f"train_{key}" for key in keys),
                    *(f"validation_{key}" for key in keys),
                ]
            )
            for epoch in history.epochs:
                writer.writerow(
                    [
                        epoch.epoch,
                        f"{epoch.lr:.6g}",
                        f"{epoch.seconds:.2f}",
                        f"{epoch.images_per_second:.1f}",
                        *(f"{epoch.train.values[key]:.6f}" for key in keys),
                        *(f"{epoch.validation.values[key]:.6f}" for key in keys),
                    ]
                )

    write_atomically(path, write)


def _save(path: Path, figure: Figure) -> None:
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=_DPI))


def write_curves(path: Path, history: History, *, quantity: str) -> None:
    """Training and validation curve of `quantity` (loss or accuracy), the best epoch marked."""

    def read(scores: Scores) -> float:
        return scores.values[quantity]

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.add_subplot()
        numbers = [epoch.epoch for epoch in history.epochs]
        train: list[float] = [read(epoch.train) for epoch in history.epochs]
        validation: list[float] = [read(epoch.validation) for epoch in history.epochs]
        marker = "o" if len(numbers) <= 30 else ""
        axes.plot(numbers, train, color=_TRAIN, marker=marker, markersize=4, label="training")
        axes.plot(numbers, validation, color=_VALIDATION, marker=marker, markersize=4, label="validation")
        best = history.best
        if best is not None:
            axes.axvline(best.epoch, color=_BEST, linewidth=1, linestyle=":", zorder=1)
            value = read(best.validation)
            axes.plot(
                [best.epoch],
                [value],
                marker="o",
                markersize=9,
                markerfacecolor="none",
                markeredgecolor=_VALIDATION,
                linestyle="none",
                label=f"best weights, epoch {best.epoch}: {_percent_or_number(value, quantity)}",
            )
        axes.set_xlabel("epoch")
        axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if quantity == "accuracy":
            axes.set_title("Accuracy")
            axes.set_ylim(0, 1)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            axes.set_title("Loss (cross-entropy)")
            low, high = min(*train, *validation), max(*train, *validation)
            # From zero, unless that would flatten the curves into the upper half.
            axes.set_ylim(0 if low < high / 2 else low - 0.15 * (high - low + 0.01), high + 0.08 * high)
        axes.legend(frameon=False, loc="best")
        _save(path, figure)


def _percent_or_number(value: float, quantity: str) -> str:
    return f"{value:.1%}" if quantity == "accuracy" else f"{value:.3f}"


def write_confusion(path: Path, evaluation: Evaluation, class_names: Sequence[str], *, title: str) -> None:
    """True classes down, predicted across; colour is the part of the true class, the number is images."""
    confusion = evaluation.confusion
    totals = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.maximum(totals, 1)
    count = len(class_names)
    side = float(np.clip(2.6 + 0.55 * min(count, _MOST_NUMBERS) + 0.04 * count, 4.8, 18))
    with mpl.rc_context({**_STYLE, "axes.grid": False}):
        figure = Figure(figsize=(side + 1.2, side), layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_title(
            f"{title}: {evaluation.scores.accuracy:.1%} of {evaluation.scores.images:,} images right"
        )
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class (images)" if count <= _MOST_NUMBERS else "true class")
        if count <= _MOST_NAMES:
            long = max(len(name) for name in class_names) > 4
            axes.set_xticks(range(count), class_names, rotation=90 if long else 0)
            labels = [
                f"{name} ({int(total)})" if count <= _MOST_NUMBERS else name
                for name, total in zip(class_names, totals[:, 0], strict=True)
            ]
            axes.set_yticks(range(count), labels)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if count <= _MOST_NUMBERS:
            _write_cells(axes, confusion, shares)
        colorbar = figure.colorbar(image, ax=axes, shrink=0.85, format=PercentFormatter(1.0))
        colorbar.set_label("of the true class")
        colorbar.outline.set_visible(False)
        _save(path, figure)


def _write_cells(axes: Axes, confusion: np.ndarray, shares: np.ndarray) -> None:
    for row, column in np.ndindex(*confusion.shape):
        if confusion[row, column]:
            axes.text(
                column,
                row,
                f"{confusion[row, column]}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if shares[row, column] > 0.5 else "#1a1a1a",
                fontweight="bold" if row == column else "normal",
            )


def worst_mistakes(
    evaluation: Evaluation, values: Sequence[float] | None, *, most: int = _WORST_COLUMNS * _WORST_ROWS
) -> list[int]:
    """Indices of the wrongly answered samples, worst first.

    Where classes are counts the larger error of the count is worse; among equals, and for other
    classes, the larger loss.
    """
    wrong = np.flatnonzero(evaluation.predicted != evaluation.labels)
    error = np.zeros(len(wrong))
    if values is not None:
        numbers = np.asarray(values)
        error = np.abs(numbers[evaluation.predicted[wrong]] - numbers[evaluation.labels[wrong]])
    order = np.lexsort((wrong, -evaluation.losses[wrong], -error))
    return [int(index) for index in wrong[order][:most]]


def write_worst(
    path: Path,
    evaluation: Evaluation,
    samples: Sequence[Sample],
    class_names: Sequence[str],
    values: Sequence[float] | None,
    *,
    title: str,
) -> None:
    """A sheet of the worst mistakes, each image whole, with both classes and its file."""
    indices = worst_mistakes(evaluation, values)
    fit = Preprocessing(size=200, mean=(1.0, 1.0, 1.0))  # on white, whatever the network's own ground
    rows = max(1, -(-len(indices) // _WORST_COLUMNS))
    columns = max(3, min(_WORST_COLUMNS, len(indices)))
    with mpl.rc_context({**_STYLE, "axes.grid": False}):
        figure = Figure(figsize=(1.95 * columns, 0.7 + 2.45 * rows), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        if not indices:
            figure.text(0.5, 0.45, "every image was answered right", ha="center", fontsize=13)
        for place, index in enumerate(indices):
            axes = figure.add_subplot(rows, columns, place + 1)
            with Image.open(samples[index].path) as opened:
                axes.imshow(np.asarray(fit.fit(opened)))
            axes.set_axis_off()
            true, predicted = (
                class_names[int(labels[index])] for labels in (evaluation.labels, evaluation.predicted)
            )
            axes.set_title(
                f"true {_short(true)}\npredicted {_short(predicted)}, {evaluation.probabilities[index]:.0%}",
                fontsize=9,
                fontweight="normal",
                loc="left",
            )
            axes.text(
                0,
                -0.03,
                _short(samples[index].path.name, 24),
                transform=axes.transAxes,
                va="top",
                fontsize=7.5,
                color="#666666",
            )
        _save(path, figure)


def _short(text: str, most: int = 16) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
