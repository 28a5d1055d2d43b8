"""From samples to batches: uint8 images [batch, 3, side, side], labels [batch], indices [batch].

Batches stay uint8 until they are on the device that normalises them: a quarter of the bytes through
shared memory and to a GPU.
"""

import logging
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler

from drydock.data.augmentation import augment
from drydock.data.image_folder import DECODE_ERRORS, Sample
from drydock.data.preprocessing import Preprocessing
from drydock.errors import UserError

logger = logging.getLogger(__name__)

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
# DataLoader's prefetch_factor: batches a worker keeps ready.
_PREFETCH = 2
_WORKERS_PREFIX = f"{UserError.__module__}.{UserError.__qualname__}: "
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  where torch's workers hand their batches over


@dataclass(frozen=True)
class Draw:
    """Which sample, and in which epoch: workers live longer than an epoch, so each draw says it."""

    index: int
    epoch: int


class SampleDataset(Dataset[tuple[torch.Tensor, int, int]]):
    """Decodes, fits and, for training, augments one sample a draw."""

    def __init__(
        self, samples: Sequence[Sample], preprocessing: Preprocessing, *, augment: str = "none", seed: int = 0
    ) -> None:
        self.samples = tuple(samples)
        self.preprocessing = preprocessing
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, int, int]:
        sample = self.samples[draw.index]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(sample.path) as opened:
                    image = self.preprocessing.fit(opened)
        except DECODE_ERRORS as error:
            raise UserError(
                f"{sample.path} does not decode: {str(error).partition(chr(10))[0]}: mend or remove it"
            ) from error
        image = augment(image, kind=self.augment, seed=self.seed, epoch=draw.epoch, index=draw.index)
        pixels = torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).contiguous()
        return pixels, sample.label, draw.index


class EvenBatches(Sampler[list[Draw]]):
    """Batches of nearly equal size, none above `batch_size`; shuffled anew each epoch where `seed` is given.

    With a plain remainder the last batch may hold a single image, whose batch statistics are
    noise, and on which batch normalisation of a 1 x 1 map fails.
    """

    def __init__(self, samples: int, batch_size: int, *, seed: int | None = None) -> None:
        self.samples = samples
        self.batches = math.ceil(samples / batch_size)
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[Draw]]:
        order = np.arange(self.samples)
        if self.seed is not None:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(self.samples)
        for indices in np.array_split(order, self.batches):
            yield [Draw(int(index), self.epoch) for index in indices]


def _leave_process_group(_worker: int) -> None:
    # A stop is sent to the whole process group; the training finishes its step with its workers and
    # then ends them. (To ignore SIGTERM instead would make multiprocessing wait for them for ever.)
    # A worker whose training is gone notices by itself and ends.
    os.setpgid(0, 0)


class Batches:
    """The batches of a data set, epoch after epoch; what one holds follows from its number and the seed."""

    def __init__(
        self,
        dataset: SampleDataset,
        *,
        batch_size: int,
        shuffle_seed: int | None = None,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.dataset = dataset
        self._sampler = EvenBatches(len(dataset), batch_size, seed=shuffle_seed)
        self._loader = DataLoader(
            dataset,
            batch_sampler=self._sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=_PREFETCH if workers else None,
            worker_init_fn=_leave_process_group,
            pin_memory=pin_memory,
            # Its own generator, so that loading takes nothing from the one that draws weights.
            generator=torch.Generator().manual_seed(0),
        )

    @property
    def images(self) -> int:
        return len(self.dataset)

    def __len__(self) -> int:
        return len(self._sampler)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of epoch `number`. Raises UserError for an image that does not decode."""
        self._sampler.epoch = number
        try:
            yield from self._loader
        except UserError as error:
            # Across a worker's border torch puts the traceback into the message; the last line is ours.
            raise UserError(str(error).strip().splitlines()[-1].removeprefix(_WORKERS_PREFIX)) from error


def affordable_workers(workers: int, *, batch_size: int, size: int, free_bytes: int | None = None) -> int:
    """As many of `workers` as shared memory has room for; a worker without room dies by SIGBUS.

    Docker gives a container 64 MiB unless told otherwise. `free_bytes`: of shared memory; None: look.
    """
    if free_bytes is None:
        if not _SHARED_MEMORY.is_dir():
            return workers
        state = os.statvfs(_SHARED_MEMORY)
        free_bytes = state.f_bavail * state.f_frsize
    # A batch being written beside those prefetched, and the one in use.
    each = batch_size * 3 * size * size * (_PREFETCH + 2)
    affordable = min(workers, int(free_bytes * 0.8 // each))
    if affordable < workers:
        logger.warning(
            "shared memory has %.0f MiB free, %d loading workers need %.0f MiB: using %d "
            "(give the container more: docker run --shm-size)",
            free_bytes / 2**20,
            workers,
            workers * each / 2**20,
            affordable,
        )
    return affordable
