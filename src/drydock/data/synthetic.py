"""`python -m drydock.data.synthetic --output DIR`: demo data for a machine without any.

Draws warehouse bins with 1-5 items, the count being the class, as image folders::

    DIR/train/1/00003.jpg ... DIR/train/5/, DIR/validation/1/ ..., DIR/test/1/ ..., DIR/manifest.json

The same options give the same bytes (with the same Pillow). A set appears whole or not at all: it is drawn
beside its place and renamed.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from drydock.contract import TEST_CHANNEL, TRAIN_CHANNEL, VALIDATION_CHANNEL
from drydock.data.synthetic_bins import COUNTS, draw_bin
from drydock.errors import DrydockError, UserError

MANIFEST = "manifest.json"
_GENERATOR = 1  # raised whenever equal options draw other pictures
_JPEG_QUALITY = 88
_HELD_OUT_FRACTION = 0.15  # of each class, once for validation and once for test
_MIN_IMAGES = 5 * len(COUNTS)
_MAX_IMAGES = 90_000  # ids have five digits
_PLAIN_LINES = 5  # of progress where there is no terminal


@dataclass(frozen=True, kw_only=True)
class Options:
    """What determines a set's bytes."""

    images: int  # in all, over all splits and classes
    seed: int
    size: int  # pixels, width and height

    def __post_init__(self) -> None:
        if not _MIN_IMAGES <= self.images <= _MAX_IMAGES:
            raise UserError(f"--images {self.images}: give a number from {_MIN_IMAGES} to {_MAX_IMAGES}")
        if not 32 <= self.size <= 2048:
            raise UserError(f"--size {self.size}: give a number of pixels from 32 to 2048")

    @property
    def manifest(self) -> dict[str, int]:
        return {"generator": _GENERATOR, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One file of a set."""

    split: str
    count: int  # items in the bin; the class
    id: int

    @property
    def path(self) -> Path:
        return Path(self.split, str(self.count), f"{self.id:05d}.jpg")


def pictures(options: Options) -> Iterator[Picture]:
    """The files of a set: classes as even as the number allows, every split with every class."""
    for index in range(options.images):
        count = COUNTS[index % len(COUNTS)]
        place, size = index // len(COUNTS), -(-(options.images - count + 1) // len(COUNTS))
        held_out = max(1, round(size * _HELD_OUT_FRACTION))
        if place < held_out:
            split = TEST_CHANNEL
        elif place < 2 * held_out:
            split = VALIDATION_CHANNEL
        else:
            split = TRAIN_CHANNEL
        yield Picture(split=split, count=count, id=index + 1)


def write_set(
    output: Path, options: Options, *, force: bool = False, progress: Callable[[int], None] = lambda _: None
) -> bool:
    """Draw a set at `output`; False where the very same one is there already.

    `progress` gets the number of files drawn so far. Raises `UserError` where `output` holds anything else;
    `force` replaces an older set of ours, and nothing that is not one.
    """
    found = _found(output)
    if found == options.manifest and not force:
        return False
    if found is None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} exists and is no set of this program: give --output another folder")
    if found is not None and not force:
        raise UserError(
            f"{output} holds a set with other options ({_described(found)}): "
            "give --output another folder, or --force to replace it"
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as temporary:
            drawing = Path(temporary, "set")
            _draw(drawing, options, progress)
            if output.exists():
                output.rename(Path(temporary, "replaced"))
            drawing.rename(output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    return True


def _draw(folder: Path, options: Options, progress: Callable[[int], None]) -> None:
    for count in COUNTS:
        for split in (TRAIN_CHANNEL, VALIDATION_CHANNEL, TEST_CHANNEL):
            (folder / split / str(count)).mkdir(parents=True)
    for number, picture in enumerate(pictures(options), start=1):
        image = draw_bin(count=picture.count, side=options.size, seed=f"{options.seed}/{picture.id}")
        image.save(folder / picture.path, "JPEG", quality=_JPEG_QUALITY)
        progress(number)
    (folder / MANIFEST).write_text(json.dumps(options.manifest) + "\n", encoding="utf-8")


def _found(output: Path) -> dict[str, object] | None:
    """The manifest of the set at `output`; None where there is none of ours."""
    try:
        manifest = json.loads((output / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "generator" in manifest else None


def _described(manifest: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in manifest.items())


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal that rich is there for (the images have no rich), else a few plain lines."""
    if sys.stderr.isatty():
        try:
            from rich.console import Console  # noqa: PLC0415  optional: only the checkout's environment has it
            from rich.progress import Progress  # noqa: PLC0415  as above
        except ImportError:
            pass
        else:
            with Progress(console=Console(stderr=True)) as bar:
                task = bar.add_task("Drawing bins", total=total)
                yield lambda done: bar.update(task, completed=done)
            return
    step = -(-total // _PLAIN_LINES)

    def line(done: int) -> None:
        if done % step == 0 or done == total:
            print(f"Drawing bins: {done} of {total}", file=sys.stderr, flush=True)  # noqa: T201  a command prints

    yield line


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m drydock.data.synthetic", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--output", type=Path, required=True, help="folder that the set becomes")
    parser.add_argument("--images", type=int, default=1000, help="in all (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other pictures (default 0)")
    parser.add_argument("--size", type=int, default=224, help="pixels, width and height (default 224)")
    parser.add_argument("--force", action="store_true", help="replace a set with other options")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the set that the command line asks for; the process's exit code."""
    given = _options(arguments)
    try:
        options = Options(images=given.images, seed=given.seed, size=given.size)
        start = time.monotonic()
        with _progress(options.images) as progress:
            drawn = write_set(given.output, options, force=given.force, progress=progress)
    except DrydockError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  a command prints
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)  # noqa: T201  a command prints
        return 130
    seconds = time.monotonic() - start
    what = f"{options.images} images in {given.output}"
    print(f"{what}, drawn in {seconds:.1f} s" if drawn else f"{what} are there already: reused")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
