"""The channels of a training job, from what the data holds.

A document has the channel `train` with the S3Uri `${DATA}`. Where DATA holds a folder `train`, that folder
is the channel, and its neighbours `validation`, `test` and `pretrained` are channels too, each where it is
there. Else DATA itself is the channel `train`, and the program splits the others off.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.contract import PRETRAINED_CHANNEL, TEST_CHANNEL, TRAIN_CHANNEL, VALIDATION_CHANNEL
from jobs.errors import JobError

DATA_VARIABLE = "DATA"
_DATA = "${DATA}"
_BESIDE_TRAIN = (VALIDATION_CHANNEL, TEST_CHANNEL, PRETRAINED_CHANNEL)

# The names of the folders directly below an s3:// address.
ListFolders = Callable[[str], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class ChannelChange:
    """`NAME=PLACE` of the command line: a channel to add, or to take from elsewhere."""

    name: str
    place: str  # a folder, a file:// or an s3:// address

    @classmethod
    def from_string(cls, text: str) -> "ChannelChange":
        """Parse `NAME=PLACE`. Raises `JobError`."""
        name, equals, place = text.partition("=")
        if not (name and equals and place):
            raise JobError(f"--channel {text}: expected NAME=FOLDER or NAME=s3://BUCKET/PREFIX")
        return cls(name=name, place=place)


def uri(place: str, *, local: bool) -> str:
    """The address that a request has for a folder or an address. Raises `JobError`.

    A folder must be there, and only the local service can read it.
    """
    if place.startswith(("s3://", "https://")):
        return place
    path = Path(place.removeprefix("file://")).expanduser()
    if not local:
        raise JobError(
            f"{place} is on this machine, where AWS cannot read it: copy it to a bucket "
            f"(aws s3 sync {path} s3://BUCKET/PREFIX) and give that address"
        )
    path = path.absolute()
    if not path.exists():
        raise JobError(f"{path}: no such folder; DATA and --channel name folders of images")
    return f"file://{path}"


def with_channels(
    request: Mapping[str, Any],
    *,
    data: Callable[[], str],
    changes: Sequence[ChannelChange],
    local: bool,
    list_folders: ListFolders,
) -> dict[str, Any]:
    """A copy of a training job's request with `${DATA}` and the changes made to its InputDataConfig.

    `data` gives the value of DATA; it and `list_folders` are called only where the answer is needed.
    """
    filled = copy.deepcopy(dict(request))
    replaced = {change.name for change in changes}
    channels: list[dict[str, Any]] = []
    template = None
    for channel in filled.get("InputDataConfig") or []:
        source = _s3_source(channel)
        template = template or (channel if source else None)
        if source and source.get("S3Uri") == _DATA and channel.get("ChannelName") == TRAIN_CHANNEL:
            if TRAIN_CHANNEL in replaced:
                channels.append(channel)
            else:
                places = _found(data(), local=local, list_folders=list_folders)
                channels += [_copy(channel, name, place) for name, place in places.items()]
        else:
            channels.append(channel)
    for change in changes:
        new = _copy(template, change.name, uri(change.place, local=local))
        names = [channel.get("ChannelName") for channel in channels]
        if change.name in names:
            channels[names.index(change.name)] = new
        else:
            channels.append(new)
    if channels:
        filled["InputDataConfig"] = channels
    return filled


def _s3_source(channel: Any) -> dict[str, Any] | None:
    source = channel.get("DataSource") if isinstance(channel, dict) else None
    s3_source = source.get("S3DataSource") if isinstance(source, dict) else None
    return s3_source if isinstance(s3_source, dict) else None


def _found(data: str, *, local: bool, list_folders: ListFolders) -> dict[str, str]:
    """Channel -> address of each channel that DATA holds."""
    whole = uri(data, local=local).rstrip("/")
    if whole.startswith("file://"):
        folders: Sequence[str] = [
            path.name for path in Path(whole.removeprefix("file://")).iterdir() if path.is_dir()
        ]
    else:
        folders = list_folders(whole) if whole.startswith("s3://") else ()
    if TRAIN_CHANNEL not in folders:
        return {TRAIN_CHANNEL: whole}
    return {name: f"{whole}/{name}" for name in (TRAIN_CHANNEL, *_BESIDE_TRAIN) if name in folders}


def _copy(template: Mapping[str, Any] | None, name: str, address: str) -> dict[str, Any]:
    """A channel like the document's own, under another name and address."""
    channel = copy.deepcopy(dict(template)) if template else {"DataSource": {"S3DataSource": {}}}
    channel = {"ChannelName": name, **{key: value for key, value in channel.items() if key != "ChannelName"}}
    if template is None:
        channel["InputMode"] = "File"
    channel["DataSource"]["S3DataSource"] = {
        "S3DataType": "S3Prefix",
        "S3DataDistributionType": "FullyReplicated",
        **channel["DataSource"]["S3DataSource"],
        "S3Uri": address,
    }
    return channel
