"""First weights: from the channel `pretrained`, from torchvision, or random."""

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from drydock.contract import PRETRAINED_CHANNEL, Tree
from drydock.errors import UserError
from drydock.models import MODELS, load_backbone

logger = logging.getLogger(__name__)

WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors")
# Where training scripts put the state dict among other things.
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def load_pretrained(model: nn.Module, name: str, setting: str, tree: Tree) -> str:
    """Give `model`, a `MODELS[name]`, its first weights; returns in words which. Raises UserError.

    `setting`: the hyperparameter `pretrained`: auto, none or imagenet.
    """
    folder = tree.channel(PRETRAINED_CHANNEL)
    if setting == "imagenet":
        weights, source = _download(name), "torchvision's ImageNet weights"
    elif setting == "auto" and folder.exists():
        path = find_weights(folder)
        weights, source = read_weights(path), path.name
    else:
        if folder.exists():
            logger.warning("pretrained=%s: the channel %s is not used", setting, PRETRAINED_CHANNEL)
        return "random weights"
    head_taken = load_backbone(name, model, weights, source=source)
    return f"{source} ({'with' if head_taken else 'without'} its head)"


def find_weights(folder: Path) -> Path:
    """The one weight file below `folder`. Raises UserError."""
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in WEIGHT_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if len(found) != 1:
        what = (
            "no weight file" if not found else f"{len(found)} weight files ({found[0].name}, {found[1].name})"
        )
        raise UserError(
            f"channel {PRETRAINED_CHANNEL}: {folder} has {what}: expected one, {' or '.join(WEIGHT_SUFFIXES)}"
        )
    return found[0]


def read_weights(path: Path) -> Mapping[str, Any]:
    """The state dict in a .safetensors, .pth or .pt file; nothing in it is executed. Raises UserError."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, SafetensorError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise UserError(
            f"channel {PRETRAINED_CHANNEL}: {path.name} cannot be read as a plain state dict: {reason}"
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not any(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise UserError(
            f"channel {PRETRAINED_CHANNEL}: {path.name} holds no state dict: save model.state_dict()"
        )
    # DataParallel and DistributedDataParallel put this before each name.
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _download(name: str) -> Mapping[str, Any]:
    version = MODELS[name].imagenet
    if version is None:
        raise UserError(
            f"pretrained=imagenet: there are no ImageNet weights for arch={name}: use pretrained=none"
        )
    weights = torchvision.models.get_model_weights(name)[version]
    try:
        state: Mapping[str, Any] = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"pretrained=imagenet: {weights.url} cannot be downloaded ({str(error).partition(chr(10))[0]}): "
            f"give the weights as the channel {PRETRAINED_CHANNEL} instead"
        ) from error
    return state
