"""One declaration of each hyperparameter: the API's strings, the command line, tuning and the docs.

The API sends every value as a string; the strings are parsed here, once. A hyphen and an
underscore mean the same. Standard library only: `jobs` and `local_mode` read this on hosts
without torch.
"""

import difflib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from drydock import contract
from drydock.errors import UserError

# The keys of drydock.models.MODELS, which needs torch; a test holds the two equal.
ARCHITECTURES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "convnext_tiny",
    "squeezenet1_0",
    "small_cnn",
)


@dataclass(frozen=True, kw_only=True)
class Freeze:
    """Which part of the network keeps its weights."""

    trained_stages: int | None  # last stages that train beside the head; 0: the head alone; None: all train

    @classmethod
    def from_string(cls, text: str) -> "Freeze":
        """Parse `none`, `backbone` or a number of last stages. Raises ValueError."""
        if text == "none":
            return cls(trained_stages=None)
        if text == "backbone":
            return cls(trained_stages=0)
        if re.fullmatch(r"[0-9]{1,3}", text, re.ASCII):
            return cls(trained_stages=int(text))
        raise ValueError("none, backbone or the number of last stages that train")

    def __str__(self) -> str:
        match self.trained_stages:
            case None:
                return "none"
            case 0:
                return "backbone"
            case stages:
                return str(stages)


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII):
        raise ValueError("a whole number")
    return int(text)


def _number(text: str) -> float:
    # float() alone would take nan, inf and 1_000.
    if not re.fullmatch(r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,3})?", text, re.ASCII):
        raise ValueError("a number")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a finite number")
    return value


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What is known of one hyperparameter beside its name and default."""

    help: str
    parse: Callable[[str], Any]  # raises ValueError that says what is expected
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None  # like minimum, itself excluded
    below: float | None = None  # like maximum, itself excluded
    choices: tuple[str, ...] = ()
    # ScalingType of an IntegerParameterRange or ContinuousParameterRange; None: it is not tuned by range.
    scaling: str | None = None

    @property
    def accepted(self) -> str:
        """The accepted values in words, for a message or a table."""
        if self.choices:
            return ", ".join(self.choices)
        if self.parse == Freeze.from_string:
            return "none, backbone, or a number of stages"
        kind = "whole number" if self.parse is _integer else "number"
        bounds = [
            f"{sign} {bound}"
            for sign, bound in (
                (">=", self.minimum),
                (">", self.above),
                ("<=", self.maximum),
                ("<", self.below),
            )
            if bound is not None
        ]
        return " ".join([kind, " and ".join(bounds)]).strip()

    def value(self, text: str) -> Any:
        """Parse `text`. Raises ValueError that says what is expected."""
        if self.choices and text not in self.choices:
            near = difflib.get_close_matches(text, self.choices, n=1)
            raise ValueError(f"one of {self.accepted}" + (f"; did you mean {near[0]}?" if near else ""))
        value = self.parse(text)
        if isinstance(value, int | float) and not (
            (self.minimum is None or value >= self.minimum)
            and (self.above is None or value > self.above)
            and (self.maximum is None or value <= self.maximum)
            and (self.below is None or value < self.below)
        ):
            raise ValueError(f"a {self.accepted}")
        return value


def _declare(default: Any, **declaration: Any) -> Any:
    """A dataclass field that carries its Declaration."""
    return field(default=default, metadata={"declaration": Declaration(**declaration)})


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """All hyperparameters of the training program, parsed and within their bounds."""

    # ruff: disable[RUF009]: _declare makes a dataclasses.field, the one call that belongs here
    arch: str = _declare(
        "resnet18", parse=str, choices=ARCHITECTURES, help="The network; `small_cnn` starts from scratch."
    )
    pretrained: str = _declare(
        "auto",
        parse=str,
        choices=("auto", "none", "imagenet"),
        help="First weights: `auto` takes the weight file of the channel `pretrained` where there is one, "
        "else none; `imagenet` is torchvision's download and needs a network.",
    )
    freeze: Freeze = _declare(
        Freeze(trained_stages=None),
        parse=Freeze.from_string,
        help="What keeps its first weights: `none`, `backbone` (only the head trains), or how many of "
        "the last stages train beside the head. Frozen batch normalisation keeps its statistics too.",
    )
    epochs: int = _declare(
        10,
        parse=_integer,
        minimum=1,
        maximum=10000,
        scaling="Linear",
        help="Passes over the training images.",
    )
    batch_size: int = _declare(
        32,
        parse=_integer,
        minimum=1,
        maximum=65536,
        scaling="Logarithmic",
        help="Most images a step; an epoch's images are spread evenly over its steps.",
    )
    optimizer: str = _declare(
        "adamw", parse=str, choices=("sgd", "adam", "adamw"), help="How gradients become steps."
    )
    lr: float = _declare(
        0.001, parse=_number, above=0, maximum=100, scaling="Logarithmic", help="Highest learning rate."
    )
    weight_decay: float = _declare(
        0.01,
        parse=_number,
        minimum=0,
        maximum=10,
        scaling="Logarithmic",
        help="Decay of weights (L2 with sgd and adam); never of biases and normalisation.",
    )
    momentum: float = _declare(
        0.9,
        parse=_number,
        minimum=0,
        below=1,
        scaling="ReverseLogarithmic",
        help="Momentum of sgd (Nesterov), first beta of adam and adamw.",
    )
    schedule: str = _declare(
        "cosine",
        parse=str,
        choices=("cosine", "constant"),
        help="Learning rate after the warm-up: down to zero along a cosine, or constant.",
    )
    warmup_epochs: float = _declare(
        1.0,
        parse=_number,
        minimum=0,
        maximum=10000,
        scaling="Linear",
        help="Epochs, or a fraction of one, in which the learning rate climbs; at most half of all.",
    )
    patience: int = _declare(
        0,
        parse=_integer,
        minimum=0,
        maximum=10000,
        help="Stop after so many epochs without a lower validation loss; 0: never.",
    )
    augment: str = _declare(
        "flip-color",
        parse=str,
        choices=("none", "flip", "flip-color"),
        help="Changes of the training images: mirrored left to right, and mild brightness, contrast and "
        "saturation. Nothing is ever cropped away, as that would make a count false.",
    )
    image_size: int = _declare(
        0,
        parse=_integer,
        minimum=0,
        maximum=2048,
        help="Side of the network's square input in pixels; 0: the architecture's own.",
    )
    resize: str = _declare(
        "pad",
        parse=str,
        choices=("pad", "squash", "crop"),
        help="How an image becomes a square: `pad` keeps its shape and shows all of it, `squash` shows all "
        "of it out of shape, `crop` cuts the longer side off.",
    )
    validation_fraction: float = _declare(
        0.2,
        parse=_number,
        above=0,
        maximum=0.9,
        help="Part of `train` that becomes the validation set where there is no channel `validation`.",
    )
    test_fraction: float = _declare(
        0.0,
        parse=_number,
        minimum=0,
        maximum=0.9,
        help="Part of `train` that becomes the test set where there is no channel `test`; 0: no test.",
    )
    split_by: str = _declare(
        "auto",
        parse=str,
        choices=("auto", "random", "blocks"),
        help="What is split off: single images (`random`), or whole blocks of 25 neighbouring ids (`blocks`, "
        "file names that are numbers), as neighbours often show one scene; `auto`: blocks where it can.",
    )
    split_seed: int = _declare(
        0, parse=_integer, minimum=0, maximum=2**31 - 1, help="Seed of that split, apart from `seed`."
    )
    max_bad_fraction: float = _declare(
        0.01,
        parse=_number,
        minimum=0,
        maximum=1,
        help="Part of a channel's files that may be unreadable; they are counted, named and skipped.",
    )
    seed: int = _declare(
        1,
        parse=_integer,
        minimum=0,
        maximum=2**31 - 1,
        help="Seed of first weights, order and augmentation: equal seeds give equal results on one machine.",
    )
    workers: int = _declare(
        -1,
        parse=_integer,
        minimum=-1,
        maximum=256,
        help="Processes that load images; 0: none beside the training itself; -1: by the machine. "
        "The result does not depend on it.",
    )
    precision: str = _declare(
        "auto",
        parse=str,
        choices=("auto", "fp32", "bf16"),
        help="Arithmetic of the network's layers; `auto` takes bf16 where the hardware has it.",
    )

    # ruff: enable[RUF009]

    def __post_init__(self) -> None:
        if self.validation_fraction + self.test_fraction > 0.9:
            raise UserError(
                f"hyperparameters validation-fraction={self.validation_fraction:g} and "
                f"test-fraction={self.test_fraction:g} leave less than a tenth for training: lower one"
            )

    @classmethod
    def from_strings(cls, strings: Mapping[str, str]) -> "Hyperparameters":
        """Parse the API's strings; what the toolkit and a tuning job add of their own is passed over.

        Raises UserError for an unknown name (with the nearest known one) and for a value that is
        not accepted.
        """
        values: dict[str, Any] = {}
        for name, text in strings.items():
            if (
                name.startswith(contract.TOOLKIT_HYPERPARAMETER_PREFIX)
                or name == contract.TUNING_OBJECTIVE_HYPERPARAMETER
            ):
                continue
            key = name.replace("-", "_")
            if key not in DECLARATIONS:
                near = difflib.get_close_matches(key, DECLARATIONS, n=1, cutoff=0.5)
                advice = f"did you mean {hyphenated(near[0])}?" if near else "docs/training.md lists them all"
                raise UserError(f"unknown hyperparameter {_shown(name)}: {advice}")
            if key in values:
                raise UserError(
                    f"hyperparameter {hyphenated(key)} is given twice, with hyphen and underscore"
                )
            try:
                values[key] = DECLARATIONS[key].value(_unquoted(text))
            except ValueError as error:
                raise UserError(
                    f"hyperparameter {hyphenated(key)}={_shown(text)}: expected {error}"
                ) from None
        return cls(**values)

    def to_strings(self) -> dict[str, str]:
        """What `from_strings` would read the same values from, in the API's spelling."""
        return {hyphenated(name): str(getattr(self, name)) for name in DECLARATIONS}


DECLARATIONS: Mapping[str, Declaration] = {
    field.name: field.metadata["declaration"] for field in fields(Hyperparameters)
}


def hyphenated(name: str) -> str:
    """The spelling that we write, `batch-size`, of a field's name."""
    return name.replace("_", "-")


def _shown(text: str) -> str:
    """`text` as it may stand in a one-line message."""
    return text if text.isprintable() and len(text) <= 80 else f"{text[:80]!r}"


def _unquoted(text: str) -> str:
    """SDK script mode sends each value as JSON: a string comes in quotes of its own."""
    text = text.strip()
    if len(text) >= 2 and text.startswith('"') and text.endswith('"'):
        try:
            inner = json.loads(text)
        except json.JSONDecodeError:
            return text
        return str(inner).strip()
    return text


def default_string(name: str) -> str:
    """The default as the API would send it."""
    return Hyperparameters().to_strings()[hyphenated(name)]


def markdown_table() -> str:
    """The table in docs/training.md; a test holds the page equal to it."""
    rows = ["| Name | Accepted | Default | Tuning | What it does |", "|---|---|---|---|---|"]
    rows += [
        f"| `{hyphenated(name)}` | {declaration.accepted} | `{default_string(name)}` "
        f"| {declaration.scaling or ('Categorical' if declaration.choices else '–')} | {declaration.help} |"
        for name, declaration in DECLARATIONS.items()
    ]
    return "\n".join(rows) + "\n"
