"""Keeping the first part of a network as it is."""

from dataclasses import dataclass

from torch import nn

from drydock.errors import UserError
from drydock.hyperparameters import Freeze
from drydock.models import MODELS


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """The modules of a network that do not train."""

    modules: tuple[nn.Module, ...]

    def train(self, model: nn.Module) -> None:
        """Training mode for what trains only: frozen normalisation and dropout are off."""
        model.train()
        for module in self.modules:
            module.eval()


def freeze(model: nn.Module, name: str, setting: Freeze) -> Frozen:
    """Take the frozen stages of `model`, a `MODELS[name]`, out of training. Raises UserError."""
    stages = MODELS[name].stages
    trained = setting.trained_stages
    if trained is None:
        return Frozen(modules=())
    if trained > len(stages):
        raise UserError(
            f"hyperparameter freeze={trained}: {name} has {len(stages)} stages: "
            f"0 to {len(stages)} of them can train, or freeze=none"
        )
    modules = tuple(model.get_submodule(path) for stage in stages[: len(stages) - trained] for path in stage)
    for module in modules:
        module.requires_grad_(requires_grad=False)
    return Frozen(modules=modules)
