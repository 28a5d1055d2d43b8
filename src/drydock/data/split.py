"""Splitting validation and test images off the channel `train`, by a seed.

Pictures of one shelf or one burst carry neighbouring ids and often show the same scene (in the
Amazon Bin Image Dataset all near-duplicate pairs are neighbours). A split of single images puts
one of a pair into training and the other into the test, and reports what was learnt by heart. A
split by blocks keeps neighbours together.
"""

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drydock.data.image_folder import Sample
from drydock.errors import UserError

logger = logging.getLogger(__name__)

BLOCK_IDS = 25  # neighbouring ids a block


@dataclass(frozen=True, kw_only=True)
class Split:
    """Disjoint parts of the samples, each in their order."""

    by: str  # random or blocks, as it was done
    train: tuple[Sample, ...]
    parts: Mapping[str, tuple[Sample, ...]]  # what was split off, by the name given


def split(samples: Sequence[Sample], fractions: Mapping[str, float], *, by: str, seed: int) -> Split:
    """Split off a part per name in `fractions` (0..1 of all samples each; 0 gives an empty part).

    Classes keep about their shares. `by`: `random` single images; `blocks` of BLOCK_IDS ids, taken
    from file names that are numbers; `auto` blocks where all file names are numbers and every class
    is then in every part. Raises UserError where a part cannot be had.
    """
    if by == "auto":
        blocks = _split(samples, _blocks(samples), fractions, "blocks", seed)
        if blocks is not None and _complete(blocks, fractions):
            return blocks
        return _checked(_split(samples, _singles(samples), fractions, "random", seed), fractions)
    if by == "blocks":
        result = _split(samples, _blocks(samples), fractions, "blocks", seed)
        if result is None:
            raise UserError(
                "split-by=blocks needs file names that are numbers, such as 00523.jpg: use split-by=random"
            )
        return _checked(result, fractions)
    return _checked(_split(samples, _singles(samples), fractions, "random", seed), fractions)


def _checked(result: Split | None, fractions: Mapping[str, float]) -> Split:
    assert result is not None
    classes = {sample.label for part in (result.train, *result.parts.values()) for sample in part}
    if len({sample.label for sample in result.train}) < len(classes):
        raise UserError(
            f"splitting {', '.join(fractions)} off channel train ({result.by}) leaves a class without "
            "a training image: give more images, lower the fraction or use split-by=random"
        )
    for name, fraction in fractions.items():
        if fraction > 0 and not result.parts[name]:
            raise UserError(
                f"channel train has too few images to split {name} off: "
                f"give a channel {name}, or raise {name}-fraction"
            )
    return result


def _complete(result: Split, fractions: Mapping[str, float]) -> bool:
    classes = len({sample.label for part in (result.train, *result.parts.values()) for sample in part})
    parts = [result.train, *(result.parts[name] for name, fraction in fractions.items() if fraction > 0)]
    return all(len({sample.label for sample in part}) == classes for part in parts)


def _singles(samples: Sequence[Sample]) -> list[int]:
    return list(range(len(samples)))


def _blocks(samples: Sequence[Sample]) -> list[int] | None:
    stems = [sample.path.stem for sample in samples]
    if not all(stem.isascii() and stem.isdigit() for stem in stems):
        return None
    return [int(stem) // BLOCK_IDS for stem in stems]


def _split(
    samples: Sequence[Sample], groups: list[int] | None, fractions: Mapping[str, float], by: str, seed: int
) -> Split | None:
    """Whole groups go to each part; a group counts to the class that most of it has."""
    if groups is None:
        return None
    members: defaultdict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    strata: defaultdict[int, list[list[int]]] = defaultdict(list)
    for group in sorted(members):
        indices = members[group]
        counted = Counter(samples[index].label for index in indices)
        strata[max(counted, key=lambda label: (counted[label], -label))].append(indices)
    generator = random.Random(seed)  # noqa: S311  a split is no secret
    taken: dict[str, set[int]] = {name: set() for name in fractions}
    # What rounding to whole groups gave too much so far: the next class gives so much less.
    surplus = dict.fromkeys(fractions, 0.0)
    for label in sorted(strata):
        pool = strata[label]
        generator.shuffle(pool)
        total = sum(len(indices) for indices in pool)
        for name, fraction in fractions.items():
            wanted = fraction * total - surplus[name]
            got = 0
            # The last group is taken when that comes nearer to what is wanted than leaving it; one
            # group stays, as a class cannot do without training images.
            while len(pool) > 1 and wanted > 0 and got + len(pool[-1]) / 2 <= wanted:
                indices = pool.pop()
                taken[name].update(indices)
                got += len(indices)
            surplus[name] = got - wanted
    away = set().union(*taken.values())
    return Split(
        by=by,
        train=tuple(sample for index, sample in enumerate(samples) if index not in away),
        parts={
            name: tuple(sample for index, sample in enumerate(samples) if index in indices)
            for name, indices in taken.items()
        },
    )
