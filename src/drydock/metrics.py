"""METRICS: each metric's name, its log line and the regex that reads the line, side by side.

A training job's MetricDefinitions are regexes over its log. Line and regex stand together here so
that neither can change alone. Standard library only: `jobs` and `local_mode` read this on hosts
without torch.

Every value is a mean over the images of a data set (a sum over its images divided by their
number), never a mean of batch means.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

# What a value looks like in a log line: fixed point, never an exponent.
_VALUE = "([0-9]+[.][0-9]+)"
_EPOCH = "[0-9]+"


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one pass over a data set gave."""

    images: int
    loss: float  # cross-entropy, nats per image
    accuracy: float  # fraction, 0..1
    top5_accuracy: float | None  # fraction; None where there are five classes or fewer
    rmse: float | None  # of the most probable class's number; None where class names are no numbers
    expected_count_rmse: float | None  # of the mean of the numbers under the predicted probabilities

    @property
    def values(self) -> Mapping[str, float]:
        """The metrics that apply, by the key that METRICS uses."""
        return {
            field.name: value
            for field in fields(self)
            if field.name != "images" and (value := getattr(self, field.name)) is not None
        }


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One MetricDefinition and the log line that feeds it."""

    name: str  # MetricDefinitions[].Name
    key: str  # the field of Scores
    line: str  # str.format: {value}, and {epoch} where the line has one
    regex: str  # MetricDefinitions[].Regex: one capture group, at most 500 characters

    def format(self, value: float, *, epoch: int | None = None) -> str:
        return self.line.format(value=value, epoch=epoch)

    def find(self, line: str) -> float | None:
        """The value in a log line; None where the line is not this metric's."""
        found = re.search(self.regex, line)
        return float(found.group(1)) if found else None


# A line's middle per field of Scores; the words before it say whose metric it is.
_WORDS: Mapping[str, str] = {
    "loss": "Average loss: ",
    "accuracy": "Average accuracy: ",
    "top5_accuracy": "Top-5 accuracy: ",
    "rmse": "RMSE: ",
    "expected_count_rmse": "Expected-count RMSE: ",
}


def _metrics(prefix: str, *, line: str, regex: str, suffix: str = "") -> dict[str, Metric]:
    return {
        f"{prefix}:{suffix}{key}": Metric(
            name=f"{prefix}:{suffix}{key}",
            key=key,
            line=f"{line}{words}{{value:.4f}}",
            regex=f"{regex}{words}{_VALUE}",
        )
        for key, words in _WORDS.items()
    }


METRICS: Mapping[str, Metric] = {
    # Running over the epoch: the weights move meanwhile, and the images are the augmented ones.
    **_metrics("train", line="Epoch {epoch}: Training set: ", regex=f"Epoch {_EPOCH}: Training set: "),
    **_metrics(
        "validation", line="Epoch {epoch}: Validation set: ", regex=f"Epoch {_EPOCH}: Validation set: "
    ),
    # Once, at the end: the validation scores of the weights that are in the artifact.
    **_metrics(
        "validation",
        line="Best epoch {epoch}: Validation set: ",
        regex=f"Best epoch {_EPOCH}: Validation set: ",
        suffix="best_",
    ),
    **_metrics("test", line="Test set: ", regex="Test set: "),
}


def lines(prefix: str, scores: Scores, *, epoch: int | None = None) -> list[str]:
    """The log lines of `scores`; `prefix` is what METRICS puts before a key: `test:`, `validation:best_`."""
    return [METRICS[prefix + key].format(value, epoch=epoch) for key, value in scores.values.items()]


# A name such as 3, 0.5 or -1; "nan", "1e3" and WordNet ids are names, not counts.
_NUMBER = re.compile(r"-?[0-9]+([.][0-9]+)?", re.ASCII)


def class_values(names: Sequence[str]) -> tuple[float, ...] | None:
    """The numbers that the class names are, in their order; None where one of them is no number."""
    if not names or not all(_NUMBER.fullmatch(name) for name in names):
        return None
    values = tuple(float(name) for name in names)
    return values if all(math.isfinite(value) for value in values) else None
