"""The training loop: epochs of steps, validation after each, the best weights kept."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn, optim
from torch.optim.lr_scheduler import LambdaLR

from drydock import metrics
from drydock.data.loading import Batches
from drydock.errors import UserError
from drydock.metrics import Scores
from drydock.training.checkpoint import Checkpoints
from drydock.training.evaluation import Evaluation, Normaliser, Tally
from drydock.training.freezing import Frozen
from drydock.training.precision import Precision
from drydock.training.stopping import Stop

logger = logging.getLogger(__name__)

# A progress line at each tenth of an epoch, but not more often than this.
PROGRESS_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A row of history.csv."""

    epoch: int  # from 1
    lr: float  # of its first step
    seconds: float  # training and validation
    images_per_second: float  # of the training alone
    train: Scores
    validation: Scores


@dataclass(kw_only=True)
class History:
    """What a run has done so far."""

    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None  # lowest validation loss
    best_validation: Evaluation | None = None
    steps: int = 0

    def add(self, epoch: Epoch, validation: Evaluation) -> bool:
        """Append `epoch`; returns whether it is the best so far."""
        self.epochs.append(epoch)
        if self.best is None or epoch.validation.loss < self.best.validation.loss:
            self.best, self.best_validation = epoch, validation
            return True
        return False


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """All that a training step needs."""

    model: nn.Module
    frozen: Frozen
    optimizer: optim.Optimizer
    schedule: LambdaLR
    batches: Batches
    normalise: Normaliser
    precision: Precision
    stop: Stop
    new_tally: Callable[[], Tally]
    validate: Callable[[], Evaluation]
    checkpoints: Checkpoints
    epochs: int
    patience: int  # epochs without a lower validation loss; 0: no early stopping

    def run(self, history: History) -> None:
        """Train, filling `history`.

        Raises StopRequested where a stop was asked for (`history` and the checkpoints are then of
        the epochs that were finished), and UserError where the loss is no longer finite.
        """
        for number in range(1, self.epochs + 1):
            begin = time.monotonic()
            lr = self.optimizer.param_groups[0]["lr"]
            train = self._train_epoch(number, history)
            trained_seconds = time.monotonic() - begin
            for line in metrics.lines("train:", train, epoch=number):
                logger.info("%s", line)
            self.stop.check()
            evaluation = self.validate()
            validation = evaluation.scores
            _require_finite(validation.loss, f"validation loss of epoch {number}")
            for line in metrics.lines("validation:", validation, epoch=number):
                logger.info("%s", line)
            epoch = Epoch(
                epoch=number,
                lr=lr,
                seconds=time.monotonic() - begin,
                images_per_second=train.images / max(trained_seconds, 1e-9),
                train=train,
                validation=validation,
            )
            best = history.add(epoch, evaluation)
            if best:
                self.checkpoints.save_best(self.model)
            self.checkpoints.save_last(self.model)
            logger.info(
                "Epoch %d of %d: %.1f s, %.1f images/s in training, learning rate from %.3g%s",
                number,
                self.epochs,
                epoch.seconds,
                epoch.images_per_second,
                lr,
                ", best so far" if best else "",
            )
            assert history.best is not None
            if self.patience and number - history.best.epoch >= self.patience and number < self.epochs:
                logger.info(
                    "Early stopping: no lower validation loss for %d epochs (best: epoch %d)",
                    self.patience,
                    history.best.epoch,
                )
                return

    def _train_epoch(self, number: int, history: History) -> Scores:
        self.frozen.train(self.model)
        tally = self.new_tally()
        steps = len(self.batches)
        begin = last_line = time.monotonic()
        for step, (images, labels, _) in enumerate(self.batches.epoch(number), start=1):
            logits, losses = self._step(images, labels)
            history.steps += 1
            tally.add(logits.detach(), labels.to(self.normalise.device), losses.detach())
            now = time.monotonic()
            if now - last_line >= PROGRESS_SECONDS and step < steps and _passes_tenth(step, steps):
                last_line = now
                running = tally.scores()
                _require_finite(running.loss, f"training loss of epoch {number}, step {step}")
                logger.info(
                    "Epoch %d: step %d of %d (%.0f %%), %.1f images/s, running loss %.4f",
                    number,
                    step,
                    steps,
                    100 * step / steps,
                    running.images / (now - begin),
                    running.loss,
                )
            if step < steps:
                self.stop.check()
        scores = tally.scores()
        _require_finite(scores.loss, f"training loss of epoch {number}")
        return scores

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        device = self.normalise.device
        with self.precision.autocast(device):
            logits = self.model(self.normalise(images))
        logits = logits.float()
        losses = nn.functional.cross_entropy(logits, labels.to(device), reduction="none")
        self.optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()  # type: ignore[no-untyped-call]  # torch's own gap
        self.optimizer.step()
        self.schedule.step()
        return logits, losses


def _passes_tenth(step: int, steps: int) -> bool:
    return step * 10 // steps > (step - 1) * 10 // steps


def _require_finite(value: float, what: str) -> None:
    if not math.isfinite(value):
        raise UserError(f"the training diverged: the {what} is {value}: lower lr, or set precision=fp32")
