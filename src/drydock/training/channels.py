"""From the channels of a job to the images to train, validate and test on."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock import contract
from drydock.contract import Tree
from drydock.data.image_folder import ImageFolder, Sample, scan
from drydock.data.split import split
from drydock.errors import UserError
from drydock.hyperparameters import Hyperparameters

logger = logging.getLogger(__name__)

USED = (
    contract.TRAIN_CHANNEL,
    contract.VALIDATION_CHANNEL,
    contract.TEST_CHANNEL,
    contract.PRETRAINED_CHANNEL,
)


@dataclass(frozen=True, kw_only=True)
class Data:
    """The images of a run."""

    class_names: tuple[str, ...]
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]  # empty: no test
    split_by: str | None  # how parts were split off train; None: none was
    bad_files: Mapping[str, int]  # skipped, by channel

    def summary(self) -> str:
        """One line for the log."""
        names = ", ".join(self.class_names[:10]) + (", ..." if len(self.class_names) > 10 else "")
        split_off = f", split off by {self.split_by}" if self.split_by else ""
        return (
            f"{len(self.train):,} training, {len(self.validation):,} validation, {len(self.test):,} test "
            f"images{split_off}; {len(self.class_names)} classes: {names}"
        )


def read_json(path: Path) -> Any:
    """A configuration file of the platform; None where there is none. Raises UserError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}".replace("\n", " ")) from error


def check_hosts(tree: Tree) -> None:
    """Raise UserError where the job has several hosts: each would train the same model alone."""
    resources = read_json(tree.resource_config_file) or {}
    hosts = resources.get("hosts", []) if isinstance(resources, dict) else []
    if len(hosts) > 1:
        raise UserError(
            f"this program trains on one host, the job has {len(hosts)}: "
            "set ResourceConfig.InstanceCount to 1"
        )


def check_channels(tree: Tree) -> None:
    """Raise UserError where a channel of the job is not there; log those that nothing reads."""
    config = read_json(tree.input_data_config_file) or {}
    if not isinstance(config, dict):
        raise UserError(f"{tree.input_data_config_file} is no JSON object of channels")
    for name, channel in config.items():
        if isinstance(channel, dict) and channel.get("TrainingInputMode") == "Pipe":
            raise UserError(f"channel {name}: TrainingInputMode Pipe is not read here: use File or FastFile")
        if not tree.channel(name).exists():
            raise UserError(
                f"channel {name}: no folder {tree.channel(name)}, though the job names the channel"
            )
    present = sorted(path.name for path in tree.channels.iterdir()) if tree.channels.is_dir() else []
    if unused := [name for name in present if name not in USED and not name.startswith(".")]:
        logger.warning("channels that nothing reads: %s (known: %s)", ", ".join(unused), ", ".join(USED))


def read(tree: Tree, hyperparameters: Hyperparameters, *, threads: int) -> Data:
    """Scan the channels, and split off `train` what has no channel of its own. Raises UserError."""
    if not tree.channel(contract.TRAIN_CHANNEL).is_dir():
        raise UserError(
            f"channel train: no folder {tree.channel(contract.TRAIN_CHANNEL)}: give the job a channel train, "
            "one folder of images a class"
        )

    def look(name: str, class_names: tuple[str, ...] | None) -> ImageFolder | None:
        folder = tree.channel(name)
        if class_names is not None and not folder.exists():
            return None
        return scan(
            folder,
            channel=name,
            max_bad_fraction=hyperparameters.max_bad_fraction,
            class_names=class_names,
            threads=threads,
        )

    train = look(contract.TRAIN_CHANNEL, None)
    assert train is not None
    others = {
        contract.VALIDATION_CHANNEL: hyperparameters.validation_fraction,
        contract.TEST_CHANNEL: hyperparameters.test_fraction,
    }
    given = {name: look(name, train.class_names) for name in others}
    fractions = {name: part for name, part in others.items() if given[name] is None and part > 0}
    samples = {name: folder.samples for name, folder in given.items() if folder is not None}
    train_samples, split_by = train.samples, None
    if fractions:
        done = split(train.samples, fractions, by=hyperparameters.split_by, seed=hyperparameters.split_seed)
        train_samples, split_by = done.train, done.by
        samples.update(done.parts)
    folders = {contract.TRAIN_CHANNEL: train, **given}
    return Data(
        class_names=train.class_names,
        train=train_samples,
        validation=samples[contract.VALIDATION_CHANNEL],
        test=samples.get(contract.TEST_CHANNEL, ()),
        split_by=split_by,
        bad_files={
            name: len(folder.bad_files) for name, folder in folders.items() if folder and folder.bad_files
        },
    )
