"""One `Preprocessing` value from a decoded image to a network's input, for training, evaluation and serving.

No torch here: a serving image without torch reads the value from model.json and does the same.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

# Means and deviations of ImageNet's RGB channels in 0..1, which torchvision's weights expect.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

RESIZES = ("pad", "squash", "crop")
_INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image becomes an input; its fields are in model.json.

    `pad` keeps the image's shape and shows all of it on a ground of the mean colour, which is zero
    after normalisation; `squash` shows all of it out of shape; `crop` fills the square and cuts the
    longer side off evenly, which makes a count false where items lie there.
    """

    size: int  # side of the square input, pixels
    resize: str = "pad"
    interpolation: str = "bilinear"  # antialiased, as PIL does it
    mean: tuple[float, float, float] = IMAGENET_MEAN  # RGB, of values in 0..1
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if self.size < 1 or self.resize not in RESIZES or self.interpolation not in _INTERPOLATIONS:
            raise ValueError(f"no such preprocessing: {self}")

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of `to_json`. Raises ValueError, TypeError or KeyError."""
        values = {field.name: document[field.name] for field in fields(cls)}
        if unknown := document.keys() - values.keys():
            raise ValueError(f"unknown preprocessing {', '.join(sorted(unknown))}")
        for name in ("mean", "std"):
            red, green, blue = (float(value) for value in values[name])
            values[name] = (red, green, blue)
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def fit(self, image: Image.Image) -> Image.Image:
        """The upright RGB image of size x size; raises OSError or ValueError where it does not decode."""
        image = ImageOps.exif_transpose(image).convert("RGB")
        target = (self.size, self.size)
        if image.size == target:
            return image
        method = _INTERPOLATIONS[self.interpolation]
        if self.resize == "squash":
            return image.resize(target, method)
        if self.resize == "crop":
            return ImageOps.fit(image, target, method)
        ground = tuple(round(255 * channel) for channel in self.mean)
        return ImageOps.pad(image, target, method, color=ground)

    def normalise(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 pixels [..., height, width, 3] -> the network's float32 input [..., 3, height, width]."""
        mean, std = (np.asarray(value, dtype=np.float32) for value in (self.mean, self.std))
        scaled = (pixels.astype(np.float32) / np.float32(255) - mean) / std
        return np.ascontiguousarray(np.moveaxis(scaled, -1, -3), dtype=np.float32)
