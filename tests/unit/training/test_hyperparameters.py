"""Hyperparameters: the API's strings, the command line, the documentation."""

import subprocess
import sys
from pathlib import Path

import pytest

from docs.write_training import with_table
from drydock.errors import UserError
from drydock.hyperparameters import ARCHITECTURES, Freeze, Hyperparameters, markdown_table
from drydock.models import MODELS
from drydock.training.arguments import merged, parse_arguments, read_file

REPOSITORY = Path(__file__).resolve().parents[3]


def test_strings_become_values_with_hyphen_or_underscore() -> None:
    """A hyphen and an underscore mean the same, and values get their types."""
    parsed = Hyperparameters.from_strings({"batch-size": "8", "weight_decay": "1e-4", "freeze": "2"})
    assert (parsed.batch_size, parsed.weight_decay, parsed.freeze) == (8, 1e-4, Freeze(trained_stages=2))


def test_json_quoted_values_and_the_toolkits_own_are_accepted() -> None:
    """What SDK script mode and a tuning job send is understood."""
    parsed = Hyperparameters.from_strings(
        {
            "lr": '"0.01"',
            "arch": '"small_cnn"',
            "sagemaker_program": '"train.py"',
            "_tuning_objective_metric": "x",
        }
    )
    assert (parsed.lr, parsed.arch) == (0.01, "small_cnn")


def test_to_strings_is_the_inverse_of_from_strings() -> None:
    """Values written for the API read back equal."""
    parsed = Hyperparameters.from_strings({"lr": "0.000123456789", "freeze": "backbone", "epochs": "3"})
    assert Hyperparameters.from_strings(parsed.to_strings()) == parsed


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        ({"lr": "abc"}, "lr=abc: expected a number"),
        ({"lr": "nan"}, "lr=nan: expected a number"),
        ({"lr": "inf"}, "lr=inf: expected a number"),
        ({"lr": "1_0"}, "lr=1_0: expected a number"),
        ({"lr": "1e999"}, "lr=1e999: expected a finite number"),
        ({"lr": "0"}, "lr=0: expected a number > 0 and <= 100"),
        ({"lr": ""}, "lr=: expected a number"),
        ({"epochs": "1.5"}, "epochs=1.5: expected a whole number"),
        ({"epochs": "0"}, "epochs=0: expected a whole number >= 1"),
        ({"momentum": "1"}, "momentum=1: expected a number >= 0 and < 1"),
        ({"freeze": "most"}, "freeze=most: expected none, backbone or"),
        ({"freeze": "-1"}, "freeze=-1: expected none, backbone or"),
        ({"arch": "resnet-18"}, "did you mean resnet18?"),
        ({"optimizer": "lion"}, "expected one of sgd, adam, adamw"),
        ({"learning_rate": "1"}, "unknown hyperparameter learning_rate"),
        ({"epoch": "1"}, "unknown hyperparameter epoch: did you mean epochs?"),
        ({"batch-size": "1", "batch_size": "1"}, "given twice"),
        ({"validation-fraction": "0.6", "test-fraction": "0.5"}, "leave less than a tenth"),
        ({"lr": "a\nb"}, "lr='a\\nb': expected a number"),
    ],
)
def test_what_is_not_accepted_is_refused_in_one_line(strings: dict[str, str], message: str) -> None:
    """A wrong name or value gives one line that names it and says what is expected."""
    with pytest.raises(UserError) as caught:
        Hyperparameters.from_strings(strings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_line_overrides_the_file() -> None:
    """An argument replaces the file's value, whichever way either is spelt."""
    given = parse_arguments(["--lr", "0.5", "--batch-size=4"])
    strings = merged({"batch_size": "64", "epochs": "2"}, given)
    parsed = Hyperparameters.from_strings(strings)
    assert (parsed.lr, parsed.batch_size, parsed.epochs) == (0.5, 4, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epoch", "3"], "unknown hyperparameter epoch: did you mean epochs?"),
        (["--lr"], "expected one argument"),
        (["train"], "unexpected train"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(arguments: list[str], message: str) -> None:
    """The command line answers as the file does."""
    with pytest.raises(UserError, match=message):
        parse_arguments(arguments)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "JSON"), ("[]", "no JSON object"), ('{"lr": 1}', "strings")]
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """hyperparameters.json must be an object of strings."""
    file = tmp_path / "hyperparameters.json"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        read_file(file)


def test_no_file_means_no_hyperparameters(tmp_path: Path) -> None:
    """A tree without hyperparameters.json trains with the defaults."""
    assert read_file(tmp_path / "hyperparameters.json") == {}


def test_architectures_are_those_of_the_registry() -> None:
    """The torch-free list of names and MODELS are equal."""
    assert tuple(MODELS) == ARCHITECTURES


def test_the_documented_table_is_current() -> None:
    """docs/training.md holds the table that the declaration gives."""
    page = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")
    assert markdown_table() in page
    # `make docs` mends a page that is not, and touches nothing else of it.
    assert with_table(page.replace("`lr`", "`rate`").replace("| `epochs` |", "| `rounds` |")) == page


def test_the_host_needs_no_torch() -> None:
    """contract, errors, hyperparameters and metrics load without torch or numpy."""
    program = (
        "import sys, drydock.contract, drydock.errors, drydock.hyperparameters, drydock.metrics\n"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
