"""Channels in File mode: what the InputDataConfig names, as files below `/opt/ml/input/data/CHANNEL`."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from local_mode.engines.base import InputFile, InputFolder
from local_mode.errors import ServiceError, ValidationException
from local_mode.s3.store import ObjectStore

CHANNELS = PurePosixPath("input/data")
FILE_SCHEME, S3_SCHEME = "file://", "s3://"
MANIFEST = "ManifestFile"

_Open = Callable[[], tuple[int, BinaryIO]]  # a file's size in bytes, and its bytes


class DataError(Exception):
    """A channel's data is not there or cannot be laid out; the message is the FailureReason."""

    def __init__(self, message: str) -> None:
        super().__init__(f"ClientError: Data download failed:{message}")


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One entry of the InputDataConfig, all defaults filled in."""

    name: str
    data_type: str  # S3Prefix or ManifestFile
    uri: str  # s3://BUCKET/PREFIX or file:///FOLDER; of a manifest: its own
    content_type: str | None
    input_mode: str
    distribution: str
    record_wrapper: str

    @classmethod
    def from_request(cls, entry: Mapping[str, Any], *, input_mode: str) -> "Channel":
        source = entry["DataSource"]["S3DataSource"]
        return cls(
            name=entry["ChannelName"],
            data_type=source["S3DataType"],
            uri=source["S3Uri"],
            content_type=entry.get("ContentType"),
            input_mode=entry.get("InputMode", input_mode),
            distribution=source.get("S3DataDistributionType", "FullyReplicated"),
            record_wrapper=entry.get("RecordWrapperType", "None"),
        )

    @property
    def path(self) -> PurePosixPath:
        return CHANNELS / self.name

    @property
    def is_manifest(self) -> bool:
        return self.data_type == MANIFEST

    @property
    def folder(self) -> Path | None:
        """What a file:// URI names."""
        return Path(self.uri.removeprefix(FILE_SCHEME)) if self.uri.startswith(FILE_SCHEME) else None

    def config(self) -> dict[str, str]:
        """Its entry in inputdataconfig.json."""
        return {
            **({"ContentType": self.content_type} if self.content_type is not None else {}),
            "TrainingInputMode": self.input_mode,
            "S3DistributionType": self.distribution,
            "RecordWrapperType": self.record_wrapper,
        }


def channels_of(request: Mapping[str, Any]) -> tuple[Channel, ...]:
    """The channels of a CreateTrainingJob request."""
    mode = request["AlgorithmSpecification"]["TrainingInputMode"]
    return tuple(Channel.from_request(entry, input_mode=mode) for entry in request.get("InputDataConfig", ()))


def check(channels: Sequence[Channel]) -> None:
    """Raises ValidationException for a channel that can be seen to be wrong before the job starts."""
    for channel in channels:
        where = f"InputDataConfig channel {channel.name}: S3Uri {channel.uri}"
        if channel.name in {".", ".."}:
            raise ValidationException(f"InputDataConfig: ChannelName {channel.name} is no name of a folder")
        if (folder := channel.folder) is not None:
            if not folder.is_absolute():
                raise ValidationException(
                    f"{where}: a file:// path must be absolute, like file:///home/me/data"
                )
            if not folder.exists():
                raise ValidationException(f"{where}: no such folder on this machine")
            if channel.is_manifest and not folder.is_file():
                raise ValidationException(f"{where}: a {MANIFEST} is a file, not a folder")
        elif not channel.uri.startswith(S3_SCHEME):
            raise ValidationException(f"{where}: the local SageMaker reads s3:// and file:// only")


def folders(channels: Sequence[Channel]) -> tuple[InputFolder, ...]:
    """The file:// channels that a host reads in place.

    Raises DataError for one that is gone or holds no file.
    """
    found = []
    for channel in channels:
        folder = channel.folder
        if folder is None or folder.is_file() or channel.is_manifest:
            continue
        try:
            empty = not any(path.is_file() for path in folder.rglob("*"))
        except OSError as error:
            raise DataError(f"channel {channel.name}: cannot read {folder}: {error.strerror}") from error
        if empty:
            reason = "holds no file" if folder.is_dir() else "does not exist"
            raise DataError(f"channel {channel.name}: the folder {folder} {reason}")
        found.append(InputFolder(path=channel.path, source=folder.absolute()))
    return tuple(found)


def files(channels: Sequence[Channel], objects: ObjectStore) -> Iterator[InputFile]:
    """The files of all other channels, to be opened one after the other.

    Raises DataError (while iterating) for a prefix without objects and for keys that no folder can hold.
    """
    for channel in channels:
        folder = channel.folder
        if channel.is_manifest:
            yield from _laid_out(channel, _manifest(channel, objects))
        elif folder is None:
            yield from _laid_out(channel, _objects(channel, objects))
        elif folder.is_file():
            yield InputFile(path=channel.path / folder.name, open=partial(_open_file, folder))


def relative_path(key: str, prefix: str) -> str:
    """Where below the channel's folder File mode puts an object; `prefix` is a string, not a folder.

    ::

        prefix a/b/   a/b/c     -> c
        prefix a/b    a/b/c     -> c          the prefix names a folder
        prefix a/b    a/b       -> b          ... or an object
        prefix a/b    a/bc/d    -> bc/d       ... or only begins a name
    """
    if not prefix or prefix.endswith("/"):
        return key[len(prefix) :]
    if key.startswith(f"{prefix}/"):
        return key[len(prefix) + 1 :]
    return key[prefix.rfind("/") + 1 :]


def _laid_out(channel: Channel, found: Iterator[tuple[str, str, _Open]]) -> Iterator[InputFile]:
    """What `found` names (relative path, name in a message, how to open it) as files of the channel."""
    taken: set[str] = set()
    for relative, name, open_ in found:
        parts = relative.split("/")
        if any(part in {"", ".", ".."} or "\0" in part for part in parts):
            raise DataError(f"channel {channel.name}: the key {name!r} is no path of a file")
        parents = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if relative in taken or not taken.isdisjoint(parents):
            raise DataError(
                f"channel {channel.name}: the key {name!r} and another one want the same path "
                f"below {channel.path}"
            )
        taken.add(relative)
        yield InputFile(path=channel.path / relative, open=open_)
    if not taken:
        raise DataError(
            f'No S3 objects found under S3 URL "{channel.uri}" given in input data source '
            f"(channel {channel.name}). Please ensure that objects exist under that S3 prefix."
        )


def _objects(channel: Channel, objects: ObjectStore) -> Iterator[tuple[str, str, _Open]]:
    bucket, _, prefix = channel.uri.removeprefix(S3_SCHEME).partition("/")
    try:
        for stored in objects.list(bucket, prefix):
            relative = relative_path(stored.key, prefix)
            if relative and not relative.endswith(
                "/"
            ):  # not the empty objects by which consoles show folders
                yield relative, stored.key, partial(_open_object, objects, bucket, stored.key)
    except ServiceError as error:
        raise DataError(f"channel {channel.name}: {channel.uri}: {error.message}") from error


def _manifest(channel: Channel, objects: ObjectStore) -> Iterator[tuple[str, str, _Open]]:
    """The objects that a manifest names, each at its suffix: `[{"prefix": "s3://..."}, "suffix", ...]`.

    Source: API reference, S3DataSource, S3Uri.
    """
    where = f"channel {channel.name}: the manifest {channel.uri}"
    prefix, suffixes = _read_manifest(channel, objects, where)
    for suffix in suffixes:
        uri = f"{prefix}{suffix}"
        bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
        try:
            objects.get(bucket, key)
        except ServiceError as error:
            raise DataError(f"{where} names {uri}: {error.message}") from error
        yield suffix.removeprefix("/"), uri, partial(_open_object, objects, bucket, key)


def _read_manifest(channel: Channel, objects: ObjectStore, where: str) -> tuple[str, list[str]]:
    """Its prefix and its suffixes."""
    try:
        folder = channel.folder
        if folder is not None:
            _size, file = _open_file(folder)
        else:
            bucket, _, key = channel.uri.removeprefix(S3_SCHEME).partition("/")
            _size, file = _open_object(objects, bucket, key)
        with file:
            document = json.loads(file.read())
    except ServiceError as error:
        raise DataError(f"{where}: {error.message}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{where} is no JSON document: {error}") from error
    entries: list[Any] = document if isinstance(document, list) else []
    first, *suffixes = entries or [None]
    prefix = first.get("prefix") if isinstance(first, dict) and len(first) == 1 else None
    if not isinstance(prefix, str) or not prefix.startswith(S3_SCHEME) or len(prefix) == len(S3_SCHEME):
        raise DataError(f'{where} must begin with {{"prefix": "s3://BUCKET/..."}}')
    if not all(isinstance(suffix, str) and suffix for suffix in suffixes):
        raise DataError(f"{where} must have nothing but strings, none of them empty, after the prefix")
    if not suffixes:
        raise DataError(f"{where} names no objects")
    return prefix, suffixes


def _open_object(objects: ObjectStore, bucket: str, key: str) -> tuple[int, Any]:
    stored, file = objects.open(bucket, key)
    return stored.size, file


def _open_file(path: Path) -> tuple[int, Any]:
    return path.stat().st_size, path.open("rb")
