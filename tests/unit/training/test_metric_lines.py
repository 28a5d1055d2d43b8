"""METRICS: log lines, their regexes, and numbers in class names."""

import pytest

from drydock.metrics import METRICS, Scores, class_values, lines

SCORES = Scores(
    images=7, loss=0.4321, accuracy=0.9312, top5_accuracy=0.99, rmse=1.0876, expected_count_rmse=0.9876
)


@pytest.mark.parametrize("name", METRICS)
def test_a_line_is_read_by_its_own_regex_and_no_other(name: str) -> None:
    """Each metric's regex finds its value in its own line, and nothing in any other metric's."""
    line = METRICS[name].format(12.3456, epoch=3)
    assert {
        other: metric.find(line) for other, metric in METRICS.items() if metric.find(line) is not None
    } == {name: 12.3456}


def test_lines_have_the_form_that_others_rely_on() -> None:
    """The lines of the test and validation sets are the documented ones, to the letter."""
    assert lines("test:", SCORES) == [
        "Test set: Average loss: 0.4321",
        "Test set: Average accuracy: 0.9312",
        "Test set: Top-5 accuracy: 0.9900",
        "Test set: RMSE: 1.0876",
        "Test set: Expected-count RMSE: 0.9876",
    ]
    assert lines("validation:", SCORES, epoch=3)[0] == "Epoch 3: Validation set: Average loss: 0.4321"
    assert lines("train:", SCORES, epoch=12)[1] == "Epoch 12: Training set: Average accuracy: 0.9312"


def test_a_training_job_may_define_them_all() -> None:
    """All metrics fit the API: at most 40 definitions, regexes of at most 500 characters."""
    assert len(METRICS) <= 40
    assert all(len(metric.regex) <= 500 for metric in METRICS.values())


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (("1", "2", "10"), (1.0, 2.0, 10.0)),
        (("0.5", "-1"), (0.5, -1.0)),
        (("1", "two"), None),
        (("nan", "inf"), None),
        (("n02086240", "n02087394"), None),
        ((), None),
    ],
)
def test_class_names_are_counts_only_when_all_are_numbers(
    names: tuple[str, ...], values: tuple[float, ...] | None
) -> None:
    """Class values exist where every name is a plain finite number."""
    assert class_values(names) == values
