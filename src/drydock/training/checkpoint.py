"""Best and last weights, in `/opt/ml/checkpoints`, each written whole or not at all."""

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from drydock.artifact import save_weights


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The two files; each holds all weights of a network and nothing else."""

    folder: Path

    @property
    def best_file(self) -> Path:
        return self.folder / "best.safetensors"

    @property
    def last_file(self) -> Path:
        return self.folder / "last.safetensors"

    def save_best(self, model: nn.Module) -> None:
        save_weights(self.best_file, model)

    def save_last(self, model: nn.Module) -> None:
        save_weights(self.last_file, model)

    def restore_best(self, model: nn.Module) -> None:
        """Give `model` the best weights that `save_best` of this run wrote. Raises OSError."""
        model.load_state_dict(load_file(self.best_file), strict=True)
