"""One preprocessing everywhere; batches that depend on nothing but seed and epoch."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drydock.data.image_folder import Sample
from drydock.data.loading import Batches, EvenBatches, SampleDataset, affordable_workers
from drydock.data.preprocessing import Preprocessing
from drydock.errors import UserError
from drydock.training.evaluation import Normaliser
from drydock.training.precision import choose

PREPROCESSING = Preprocessing(size=16)


@pytest.fixture
def samples(tmp_path: Path) -> tuple[Sample, ...]:
    generator = np.random.default_rng(0)
    found = []
    for index in range(7):
        path = tmp_path / f"{index}.png"
        Image.fromarray(generator.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
        found.append(Sample(path=path, label=index % 2))
    return tuple(found)


def test_padding_shows_the_whole_image_on_a_neutral_ground() -> None:
    """A wide image keeps its shape; above and below is the mean colour, which normalises to zero."""
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    pixels = np.asarray(PREPROCESSING.fit(image))
    assert (pixels[4:12] == (255, 0, 0)).all()
    assert abs(PREPROCESSING.normalise(pixels)[:, 0, :]).max() < 0.02


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
@pytest.mark.parametrize("resize", ["pad", "squash", "crop"])
def test_every_mode_becomes_a_square_rgb_image(mode: str, resize: str) -> None:
    """Grey, palette, transparent and print images all decode to size x size RGB."""
    fitted = Preprocessing(size=10, resize=resize).fit(Image.new(mode, (31, 17)))
    assert (fitted.size, fitted.mode) == ((10, 10), "RGB")


def test_preprocessing_survives_json() -> None:
    """What model.json holds gives the same value back, and an unknown field is refused."""
    document = PREPROCESSING.to_json()
    assert Preprocessing.from_json({**document, "mean": list(document["mean"])}) == PREPROCESSING
    with pytest.raises(ValueError, match="unknown preprocessing gamma"):
        Preprocessing.from_json({**document, "gamma": 2})


def test_normalising_on_the_device_equals_the_torch_free_way() -> None:
    """Training's normalisation of a batch and serving's of an image differ by rounding only."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    device = torch.device("cpu")
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    normalised = Normaliser(PREPROCESSING, device, choose("fp32", device))(batch)
    np.testing.assert_allclose(normalised.numpy(), PREPROCESSING.normalise(pixels), atol=1e-6)


def test_batches_are_nearly_equal_and_hold_every_sample_once() -> None:
    """33 images at a batch size of 32 become 17 and 16, never 32 and 1."""
    drawn = list(EvenBatches(33, 32, seed=0))
    assert [len(batch) for batch in drawn] == [17, 16]
    assert sorted(draw.index for batch in drawn for draw in batch) == list(range(33))


def test_workers_change_nothing(samples: tuple[Sample, ...]) -> None:
    """Augmented batches of two epochs are equal with and without worker processes, and epochs differ."""

    def collect(workers: int) -> list[torch.Tensor]:
        dataset = SampleDataset(samples, PREPROCESSING, augment="flip-color", seed=5)
        batches = Batches(dataset, batch_size=3, shuffle_seed=5, workers=workers)
        return [images for epoch in (1, 2) for images, _, _ in batches.epoch(epoch)]

    alone, helped = collect(0), collect(2)
    assert all(torch.equal(one, other) for one, other in zip(alone, helped, strict=True))
    assert not torch.equal(alone[0], alone[len(alone) // 2])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_does_not_decode_is_named_in_one_line(
    samples: tuple[Sample, ...], workers: int
) -> None:
    """Also from a worker process, the error is one line with the file's name."""
    samples[3].path.write_bytes(samples[3].path.read_bytes()[:60])
    batches = Batches(SampleDataset(samples, PREPROCESSING), batch_size=7, workers=workers)
    with pytest.raises(UserError) as caught:
        list(batches.epoch(0))
    assert str(caught.value).startswith(str(samples[3].path))
    assert "\n" not in str(caught.value)


def test_small_shared_memory_means_fewer_workers(caplog: pytest.LogCaptureFixture) -> None:
    """In a container with 64 MiB only as many workers start as fit, and the log says why."""
    with caplog.at_level(logging.WARNING):
        assert affordable_workers(8, batch_size=64, size=224, free_bytes=64 * 2**20) == 1
    assert "--shm-size" in caplog.text
    assert affordable_workers(8, batch_size=64, size=224, free_bytes=2**34) == 8
    assert affordable_workers(2, batch_size=512, size=224, free_bytes=64 * 2**20) == 0
