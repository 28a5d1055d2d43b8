"""Where the hyperparameters come from: the platform's file, and the command line over it."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from drydock.errors import UserError
from drydock.hyperparameters import DECLARATIONS, Hyperparameters, default_string, hyphenated


def read_file(path: Path) -> dict[str, str]:
    """The strings in `hyperparameters.json`; none where there is no such file. Raises UserError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}".replace("\n", " ")) from error
    if not isinstance(document, dict):
        raise UserError(f"{path} holds no JSON object: expected names with values")
    for name, value in document.items():
        if not isinstance(value, str):
            raise UserError(
                f'{path}: {name} is {json.dumps(value)}: the API\'s values are strings, write "..."'
            )
    return document


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"command line: {message}")


def parse_arguments(arguments: Sequence[str]) -> dict[str, str]:
    """The strings given as `--name value`; they are for `Hyperparameters.from_strings`. Raises UserError."""
    # The default is absence, so that only what was given overrides the file.
    parser = _Parser(
        prog="python -m drydock.training",
        description="Train a network on the channels below SAGEMAKER_BASE_DIR (default /opt/ml). "
        "An argument overrides the same name in input/config/hyperparameters.json.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for name, declaration in DECLARATIONS.items():
        spellings = dict.fromkeys((f"--{hyphenated(name)}", f"--{name}"))
        text = f"{declaration.help} ({declaration.accepted}; default {default_string(name)})".replace(
            "%", "%%"
        )
        parser.add_argument(*spellings, dest=name, metavar="VALUE", help=text.replace("`", ""))
    known, rest = parser.parse_known_args(arguments)
    for argument in rest:
        name = argument.removeprefix("--").partition("=")[0]
        if not argument.startswith("--") or not name:
            raise UserError(f"command line: unexpected {argument}: hyperparameters are given as --name value")
        Hyperparameters.from_strings({name: ""})  # says what is unknown, and what is near
    return {name: str(value) for name, value in vars(known).items()}


def merged(*layers: Mapping[str, str]) -> dict[str, str]:
    """Later layers over earlier ones; a hyphen and an underscore are one spelling across layers."""
    result: dict[str, str] = {}
    for layer in layers:
        given = {name.replace("-", "_") for name in layer}
        result = {name: text for name, text in result.items() if name.replace("-", "_") not in given}
        result.update(layer)
    return result
