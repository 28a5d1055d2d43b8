"""Changes of training images that keep their label, a count included: nothing is cropped or moved away."""

import numpy as np
from PIL import Image, ImageEnhance

# Brightness, contrast and saturation are scaled by 1 ± this.
COLOR_STRENGTH = 0.2


def augment(image: Image.Image, *, kind: str, seed: int, epoch: int, index: int) -> Image.Image:
    """The image as epoch `epoch` sees it; `kind` is the hyperparameter `augment`.

    Its randomness comes from the numbers given alone, so that neither the order of loading nor the
    number of worker processes changes a result.
    """
    if kind == "none":
        return image
    draws = np.random.default_rng((seed, epoch, index)).random(4)
    if draws[0] < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if kind == "flip-color":
        for enhance, draw in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), draws[1:], strict=True
        ):
            image = enhance(image).enhance(1 + COLOR_STRENGTH * (2 * float(draw) - 1))
    return image
