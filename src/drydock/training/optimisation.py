"""Optimiser and learning rate."""

import math

from torch import nn, optim
from torch.optim.lr_scheduler import LambdaLR

from drydock.hyperparameters import Hyperparameters


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Trained weights with decay; biases and normalisation, which are vectors, without."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(model: nn.Module, hyperparameters: Hyperparameters) -> optim.Optimizer:
    groups = parameter_groups(model, hyperparameters.weight_decay)
    lr, momentum = hyperparameters.lr, hyperparameters.momentum
    match hyperparameters.optimizer:
        case "sgd":
            return optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0)
        case "adam":
            return optim.Adam(groups, lr=lr, betas=(momentum, 0.999))
        case _:
            return optim.AdamW(groups, lr=lr, betas=(momentum, 0.999))


def lr_factor(step: int, *, steps: int, warmup: int, schedule: str) -> float:
    """The learning rate of step 0, 1, ... as a part of the highest one.

    Linear up to `warmup` steps, then constant or along half a cosine towards zero
    (Loshchilov and Hutter 2017, SGDR, without restarts).
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def make_schedule(
    optimizer: optim.Optimizer, hyperparameters: Hyperparameters, *, steps_per_epoch: int
) -> LambdaLR:
    """The schedule to step after each optimiser step."""
    steps = hyperparameters.epochs * steps_per_epoch
    warmup = min(round(hyperparameters.warmup_epochs * steps_per_epoch), steps // 2)
    return LambdaLR(
        optimizer,
        lambda step: lr_factor(step, steps=steps, warmup=warmup, schedule=hyperparameters.schedule),
    )
