"""The artifact: `model.safetensors` and `model.json`, the only link between training and serving.

model.json says all that a server needs: architecture, class names, preprocessing; and what is
known of the model: metrics and versions. No pickle. `Metadata` needs no torch; the weights do.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.data.preprocessing import Preprocessing
from drydock.errors import UserError
from drydock.metrics import class_values

if TYPE_CHECKING:
    from torch import nn

WEIGHTS_FILE = "model.safetensors"
METADATA_FILE = "model.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """model.json."""

    architecture: str  # a key of drydock.models.MODELS
    class_names: tuple[str, ...]  # in the order of the logits
    preprocessing: Preprocessing
    metrics: Mapping[str, Any] = field(default_factory=dict)  # by data set, as in metrics.json
    training: Mapping[str, str] = field(default_factory=dict)  # the hyperparameters
    versions: Mapping[str, str] = field(default_factory=dict)  # of what made it
    weights_sha256: str = ""  # of model.safetensors, so that a half-replaced artifact is known

    @property
    def class_values(self) -> tuple[float, ...] | None:
        """The counts that the classes stand for; None where they are no numbers."""
        return class_values(self.class_names)

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "architecture": self.architecture,
            "class_names": list(self.class_names),
            "preprocessing": self.preprocessing.to_json(),
            "metrics": dict(self.metrics),
            "training": dict(self.training),
            "versions": dict(self.versions),
            "weights": {"file": WEIGHTS_FILE, "sha256": self.weights_sha256},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Metadata":
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError."""
        if document["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version is {document['format_version']}, not {FORMAT_VERSION}")
        names = document["class_names"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError("class_names is no list of strings")
        return cls(
            architecture=document["architecture"],
            class_names=tuple(names),
            preprocessing=Preprocessing.from_json(document["preprocessing"]),
            metrics=document["metrics"],
            training=document["training"],
            versions=document["versions"],
            weights_sha256=document["weights"]["sha256"],
        )


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, and put it there whole. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        write(temporary)
        # safetensors makes its files private; a server may run as another user.
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    """Write `document` whole or not at all; NaN is refused, as JSON has none."""
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_weights(path: Path, model: "nn.Module") -> None:
    """Write the weights of `model` as safetensors, whole or not at all. Raises OSError."""
    from safetensors.torch import save_file  # noqa: PLC0415  a reader of model.json has no torch

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata={"format": "pt"}))


def save(folder: Path, model: "nn.Module", metadata: Metadata) -> None:
    """Write both files, model.json last: where it is, the artifact is whole. Raises OSError."""
    weights = folder / WEIGHTS_FILE
    save_weights(weights, model)
    document = metadata.to_json()
    document["weights"]["sha256"] = _sha256(weights)
    write_json(folder / METADATA_FILE, document)


def load_metadata(folder: Path) -> Metadata:
    """Read model.json. Raises UserError."""
    path = folder / METADATA_FILE
    try:
        return Metadata.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"no {METADATA_FILE} in {folder}: it is no model artifact of drydock") from None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no drydock model.json: {type(error).__name__}: {error}") from error


def load_model(folder: Path, *, device: str = "cpu") -> "tuple[nn.Module, Metadata]":
    """The network in evaluation mode, with what model.json says. Raises UserError."""
    # Imported here because a reader of model.json alone has no torch.
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    from drydock.models import architecture  # noqa: PLC0415

    metadata = load_metadata(folder)
    path = folder / WEIGHTS_FILE
    try:
        digest = _sha256(path)
        tensors = load_file(path, device=device)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as weights: {error}") from error
    if digest != metadata.weights_sha256:
        raise UserError(f"{path} is not the file that {METADATA_FILE} describes: its SHA-256 differs")
    model = architecture(metadata.architecture).build(len(metadata.class_names))
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        first = str(error).replace("\n", " ")[:300]
        raise UserError(f"{path} does not fit {metadata.architecture}: {first}") from error
    return model.to(device).eval(), metadata
