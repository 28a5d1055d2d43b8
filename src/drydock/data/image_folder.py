"""A channel of labelled images: one folder a class, its bad files counted, named and skipped."""

import logging
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from drydock.errors import UserError
from drydock.metrics import class_values

logger = logging.getLogger(__name__)

# What Pillow raises for files that are no images, or broken ones.
DECODE_ERRORS = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
_NAMED_BAD_FILES = 3
# A JPEG's end-of-image marker may be followed by a little padding.
_JPEG_END = b"\xff\xd9"
_JPEG_TAIL_BYTES = 64


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One labelled image."""

    path: Path
    label: int  # index into the class names


@dataclass(frozen=True, kw_only=True)
class BadFile:
    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """What a channel holds."""

    class_names: tuple[str, ...]
    samples: tuple[Sample, ...]  # by class, then by path
    bad_files: tuple[BadFile, ...]


def sorted_class_names(names: list[str]) -> tuple[str, ...]:
    """By number where all names are numbers (2 before 10), else as text."""
    values = class_values(names)
    if values is None:
        return tuple(sorted(names))
    return tuple(name for _, name in sorted(zip(values, names, strict=True)))


def scan(
    folder: Path,
    *,
    channel: str,
    max_bad_fraction: float,
    class_names: tuple[str, ...] | None = None,
    threads: int = 4,
) -> ImageFolder:
    """Read which images there are in `folder`, one folder a class, and look at each file.

    `class_names`: those of the channel `train`, for the other channels; None: take them from the
    folder's own. Hidden files are passed over. Raises UserError that names the channel.
    """
    if not folder.is_dir():
        raise UserError(f"channel {channel}: no folder {folder}: give the job this channel")
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    class_folders = {entry.name: entry for entry in entries if entry.is_dir()}
    if not class_folders:
        what = f"{len(entries)} files but no class folders" if entries else "empty"
        raise UserError(f"channel {channel}: {folder} is {what}: expected one folder of images a class")
    if strays := [entry.name for entry in entries if entry.name not in class_folders]:
        logger.warning(
            "channel %s: %d files beside the class folders are not used (%s)",
            channel,
            len(strays),
            ", ".join(strays[:_NAMED_BAD_FILES]),
        )
    if class_names is None:
        class_names = sorted_class_names(list(class_folders))
        if len(class_names) < 2:
            raise UserError(
                f"channel {channel}: {folder} has one class folder only ({class_names[0]}): "
                "a classifier needs at least two"
            )
    elif unknown := sorted(class_folders.keys() - set(class_names)):
        raise UserError(
            f"channel {channel}: class folders that channel train lacks: {', '.join(unknown[:5])} "
            f"(train has {', '.join(class_names[:10])})"
        )
    labels = {name: label for label, name in enumerate(class_names)}
    found = [
        Sample(path=path, label=labels[name])
        for name in class_names
        if name in class_folders
        for path in _files(class_folders[name])
    ]
    with ThreadPoolExecutor(threads) as pool:
        reasons = list(pool.map(bad_reason, (sample.path for sample in found)))
    bad = tuple(
        BadFile(path=sample.path, reason=reason)
        for sample, reason in zip(found, reasons, strict=True)
        if reason is not None
    )
    samples = tuple(sample for sample, reason in zip(found, reasons, strict=True) if reason is None)
    _judge(folder, channel, bad, len(found), max_bad_fraction)
    present = {sample.label for sample in samples}
    if empty := [name for name in class_folders if labels[name] not in present]:
        raise UserError(
            f"channel {channel}: no image in class folder {', '.join(sorted(empty)[:5])} of {folder}: "
            "add images or remove the folder"
        )
    return ImageFolder(class_names=class_names, samples=samples, bad_files=bad)


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _judge(folder: Path, channel: str, bad: tuple[BadFile, ...], files: int, max_bad_fraction: float) -> None:
    if not bad:
        return
    named = ", ".join(f"{file.path.relative_to(folder)}: {file.reason}" for file in bad[:_NAMED_BAD_FILES])
    more = f" and {len(bad) - _NAMED_BAD_FILES} more" if len(bad) > _NAMED_BAD_FILES else ""
    share = f"{len(bad)} of {files} files ({len(bad) / files:.1%}) cannot be read as images"
    if len(bad) > max_bad_fraction * files:
        raise UserError(
            f"channel {channel}: {share}, more than max-bad-fraction={max_bad_fraction:g} allows: "
            f"{named}{more}: mend or remove them, or raise max-bad-fraction"
        )
    logger.warning("channel %s: %s and are skipped: %s%s", channel, share, named, more)


def bad_reason(path: Path) -> str | None:
    """Why the file cannot be read as an image; None where it can.

    Decoding every image would double the time to the first step of a large data set. So a whole
    JPEG is known by its header and its end marker, a PNG by its checksums; what these leave open is
    decoded.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            return "empty file"
        with path.open("rb") as file, warnings.catch_warnings():
            # A large image is no error by itself; Pillow raises at twice this size.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                if image.format == "PNG":
                    image.verify()
                    return None
                if image.format == "JPEG":
                    file.seek(max(0, size - _JPEG_TAIL_BYTES))
                    if _JPEG_END in file.read():
                        return None
                    file.seek(0)
            with Image.open(file) as image:
                image.load()
    except UnidentifiedImageError:
        return "no image"
    except DECODE_ERRORS as error:
        return str(error).partition("\n")[0] or type(error).__name__
    return None
