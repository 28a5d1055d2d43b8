"""Splitting validation and test images off."""

from collections import Counter
from pathlib import Path

import pytest

from drydock.data.image_folder import Sample
from drydock.data.split import BLOCK_IDS, split
from drydock.errors import UserError

NUMBERED = tuple(Sample(path=Path(f"{index % 3}/{index:05d}.jpg"), label=index % 3) for index in range(600))
NAMED = tuple(Sample(path=Path(f"{index % 3}/n{index}.jpg"), label=index % 3) for index in range(600))
FRACTIONS = {"validation": 0.2, "test": 0.1}


@pytest.mark.parametrize(
    ("samples", "by"), [(NUMBERED, "blocks"), (NUMBERED, "random"), (NAMED, "random"), (NUMBERED, "auto")]
)
def test_the_parts_are_disjoint_whole_and_as_large_as_asked(samples: tuple[Sample, ...], by: str) -> None:
    """Each sample is in exactly one part, and the parts have about their fractions."""
    result = split(samples, FRACTIONS, by=by, seed=3)
    together = [*result.train, *result.parts["validation"], *result.parts["test"]]
    assert sorted(together, key=str) == sorted(samples, key=str)
    assert len(result.parts["validation"]) == pytest.approx(120, abs=13)
    assert len(result.parts["test"]) == pytest.approx(60, abs=13)


def test_a_split_by_blocks_shares_no_block() -> None:
    """No block of neighbouring ids is in two parts."""
    result = split(NUMBERED, FRACTIONS, by="blocks", seed=3)
    blocks = [
        {int(sample.path.stem) // BLOCK_IDS for sample in part}
        for part in (result.train, *result.parts.values())
    ]
    assert sum(len(part) for part in blocks) == len(set().union(*blocks))


def test_the_seed_alone_decides() -> None:
    """The same seed gives the same split, another seed another."""
    first, again, other = (split(NAMED, FRACTIONS, by="random", seed=seed).parts for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_random_split_keeps_the_shares_of_classes() -> None:
    """Each class gives the same part of its images."""
    result = split(NAMED, {"validation": 0.2}, by="random", seed=0)
    assert Counter(sample.label for sample in result.parts["validation"]) == {0: 40, 1: 40, 2: 40}


def test_auto_takes_blocks_for_numbers_and_single_images_for_names() -> None:
    """Without being told, file names decide."""
    assert split(NUMBERED, FRACTIONS, by="auto", seed=0).by == "blocks"
    assert split(NAMED, FRACTIONS, by="auto", seed=0).by == "random"


def test_auto_falls_back_where_blocks_would_lose_a_class() -> None:
    """Ten images in one block a class cannot be split by blocks, but at random they can."""
    few = tuple(
        Sample(path=Path(f"{label}/{label * 100 + i}.jpg"), label=label)
        for label in (0, 1)
        for i in range(10)
    )
    result = split(few, {"validation": 0.2}, by="auto", seed=0)
    assert result.by == "random"
    assert Counter(sample.label for sample in result.parts["validation"]) == {0: 2, 1: 2}


def test_blocks_need_numbers_and_a_part_needs_images() -> None:
    """What cannot be split is refused with what to do instead."""
    with pytest.raises(UserError, match="needs file names that are numbers"):
        split(NAMED, FRACTIONS, by="blocks", seed=0)
    lonely = tuple(Sample(path=Path(f"{label}/x.jpg"), label=label) for label in (0, 1))
    with pytest.raises(UserError, match="too few images to split validation off"):
        split(lonely, {"validation": 0.5}, by="random", seed=0)
