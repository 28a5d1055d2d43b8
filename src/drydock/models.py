"""MODELS: the networks, each with its head, its stages in order and the image size it was made for.

A network maps float images [batch, 3, side, side], normalised, to logits [batch, classes].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import torchvision
from torch import nn

from drydock.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One entry of MODELS."""

    build: Callable[[int], nn.Module]  # number of classes -> network with random weights
    head: str  # path of the module whose outputs are the classes; replaced when their number differs
    # Paths of the modules of each stage, from the input to the head; `freeze` counts them from the end.
    # Together with the head they hold every parameter once.
    stages: tuple[tuple[str, ...], ...]
    image_size: int = 224  # side of the square input, pixels
    imagenet: str | None  # torchvision's name of its ImageNet weights; None: it has none


class SmallCNN(nn.Module):
    """Trained from scratch: what transfer learning must beat, and quick on two cores (0.5 million weights).

    Four stages that each halve the side, then global average pooling. Pooling by the mean keeps
    counting linear in the features: twice the items, twice the response.
    """

    WIDTHS = (24, 48, 96, 160)

    def __init__(self, classes: int) -> None:
        super().__init__()
        inputs = 3
        stages: list[nn.Module] = []
        for width in self.WIDTHS:
            stages.append(
                nn.Sequential(
                    nn.Conv2d(inputs, width, 3, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(width, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                )
            )
            inputs = width
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", self.head(self.pool(self.stages(images)).flatten(1)))


def _torchvision(name: str) -> Callable[[int], nn.Module]:
    def build(classes: int) -> nn.Module:
        return cast("nn.Module", torchvision.models.get_model(name, weights=None, num_classes=classes))

    return build


def _features(*spans: range) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(f"features.{index}" for index in span) for span in spans)


_RESNET = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))

# A stage is the run of blocks at one resolution, as each network's authors count them.
MODELS: Mapping[str, Architecture] = {
    "resnet18": Architecture(
        build=_torchvision("resnet18"), head="fc", stages=_RESNET, imagenet="IMAGENET1K_V1"
    ),
    "resnet34": Architecture(
        build=_torchvision("resnet34"), head="fc", stages=_RESNET, imagenet="IMAGENET1K_V1"
    ),
    "resnet50": Architecture(
        build=_torchvision("resnet50"), head="fc", stages=_RESNET, imagenet="IMAGENET1K_V2"
    ),
    "mobilenet_v2": Architecture(
        build=_torchvision("mobilenet_v2"),
        head="classifier.1",
        stages=_features(range(2), range(2, 4), range(4, 7), range(7, 14), range(14, 19)),
        imagenet="IMAGENET1K_V2",
    ),
    "mobilenet_v3_small": Architecture(
        build=_torchvision("mobilenet_v3_small"),
        head="classifier.3",
        stages=(
            *_features(range(1), range(1, 2), range(2, 4), range(4, 9)),
            (*_features(range(9, 13))[0], "classifier.0"),
        ),
        imagenet="IMAGENET1K_V1",
    ),
    "efficientnet_b0": Architecture(
        build=_torchvision("efficientnet_b0"),
        head="classifier.1",
        stages=_features(range(2), range(2, 3), range(3, 4), range(4, 6), range(6, 9)),
        imagenet="IMAGENET1K_V1",
    ),
    "convnext_tiny": Architecture(
        build=_torchvision("convnext_tiny"),
        head="classifier.2",
        stages=(
            *_features(range(2), range(2, 4), range(4, 6)),
            (*_features(range(6, 8))[0], "classifier.0"),
        ),
        imagenet="IMAGENET1K_V1",
    ),
    "squeezenet1_0": Architecture(
        build=_torchvision("squeezenet1_0"),
        head="classifier.1",
        stages=_features(range(1), range(3, 6), range(7, 11), range(12, 13)),
        imagenet="IMAGENET1K_V1",
    ),
    "small_cnn": Architecture(
        build=SmallCNN,
        head="head",
        stages=tuple((f"stages.{index}",) for index in range(len(SmallCNN.WIDTHS))),
        image_size=128,
        imagenet=None,
    ),
}


def architecture(name: str) -> Architecture:
    """The entry of MODELS. Raises UserError."""
    try:
        return MODELS[name]
    except KeyError:
        raise UserError(f"unknown architecture {name}: one of {', '.join(MODELS)}") from None


def load_backbone(name: str, model: nn.Module, weights: Mapping[str, Any], *, source: str) -> bool:
    """Put `weights` into `model`: every tensor of the backbone, and the head where it has as many classes.

    Returns whether the head was taken too. `source` names the weights in messages. Raises
    UserError, and changes nothing, where the weights are not this architecture's.
    """
    head = MODELS[name].head + "."
    expected = model.state_dict()
    tensors = {key: value for key, value in weights.items() if isinstance(value, torch.Tensor)}
    # A checkpoint of torchvision before 1.0 may lack the counters, which do not change a prediction.
    optional = {key for key in expected if key.endswith("num_batches_tracked")}
    backbone = {key for key in expected if not key.startswith(head)}
    problems: list[str] = []
    if missing := sorted(backbone - optional - tensors.keys()):
        problems.append(f"lacks {len(missing)} of its tensors ({_few(missing)})")
    if unknown := sorted(key for key in tensors.keys() - expected.keys() if not key.startswith(head)):
        problems.append(f"has {len(unknown)} that it does not know ({_few(unknown)})")
    if misshapen := sorted(
        f"{key} is {list(tensors[key].shape)}, not {list(expected[key].shape)}"
        for key in backbone & tensors.keys()
        if tensors[key].shape != expected[key].shape
    ):
        problems.append(f"has {len(misshapen)} of another shape ({_few(misshapen)})")
    if problems:
        raise UserError(
            f"{source} does not fit arch={name}: it {', '.join(problems)}: set arch to what it holds"
        )
    head_keys = {key for key in expected if key.startswith(head)}
    head_fits = all(key in tensors and tensors[key].shape == expected[key].shape for key in head_keys)
    taken = (backbone | (head_keys if head_fits else set())) & tensors.keys()
    model.load_state_dict({key: tensors[key] for key in taken}, strict=False)
    return head_fits


def _few(names: list[str]) -> str:
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
