"""What `${NAME}` stands for: the environment, and beside it what is known without being told."""

import datetime as dt
import functools
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import JobError
from jobs.source import Source

IMAGES_FILE = Path("build/images.json")  # written by build_and_push.sh
LOCAL_BUCKET = "drydock-local"

_LOCAL_DEFAULTS: Mapping[str, str] = {
    "TRAIN_IMAGE": "drydock-train:latest",
    "ROLE_ARN": "arn:aws:iam::000000000000:role/drydock-local",
    "BUCKET": LOCAL_BUCKET,
}
_DEFAULTS: Mapping[str, str] = {"PROGRAM": "train.py"}
SOURCE_VARIABLE = "SOURCE"
# How to set what is missing; a name that is not here is the document's own.
_ADVICE: Mapping[str, str] = {
    "TRAIN_IMAGE": f"make build push (it writes {IMAGES_FILE}), or TRAIN_IMAGE=ADDRESS",
    "ROLE_ARN": "the role that SageMaker takes on: ROLE_ARN=arn:aws:iam::ACCOUNT:role/NAME",
    "BUCKET": "the bucket that the artifacts go to: BUCKET=NAME",
    SOURCE_VARIABLE: "the folder with your script: SOURCE=FOLDER",
    "DATA": "the images to train on: DATA=FOLDER for a local job, DATA=s3://BUCKET/PREFIX on AWS",
}
_IMAGES: Mapping[str, str] = {"TRAIN_IMAGE": "drydock-train"}  # variable -> its name in IMAGES_FILE


def new_job_id(now: dt.datetime | None = None) -> str:
    """`20261120-231500-3f9a`: UTC, and four digits so that two jobs of one second differ."""
    now = now or dt.datetime.now(dt.UTC)
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


@dataclass(frozen=True, kw_only=True)
class Variables:
    """The values of one run; the environment wins over every default."""

    environment: Mapping[str, str]
    job_id: str
    local: bool
    images_file: Path = IMAGES_FILE

    def __call__(self, name: str) -> str:
        """The value of `${name}`. Raises `JobError` that says how to set it."""
        if name == SOURCE_VARIABLE and self.source is not None:
            return self.source.address
        if value := self.environment.get(name):
            return value
        if name == "JOB_ID":
            return self.job_id
        if self.local and name in _LOCAL_DEFAULTS:
            return _LOCAL_DEFAULTS[name]
        if name in _DEFAULTS:
            return _DEFAULTS[name]
        if name in _IMAGES and (address := self._pushed(_IMAGES[name])):
            return address
        advice = _ADVICE.get(name, f"set it in the environment: {name}=VALUE")
        raise JobError(f"the variable {name} is not set: {advice}")

    @functools.cached_property
    def source(self) -> Source | None:
        """The folder that SOURCE names; None where it names none, or an address in S3."""
        place = self.environment.get(SOURCE_VARIABLE, "")
        if not place or place.startswith("s3://"):
            return None
        return Source(folder=Path(place).expanduser(), bucket=self("BUCKET"))

    def _pushed(self, image: str) -> str | None:
        """The address of an image that was pushed; None where there is no file yet."""
        try:
            images = json.loads(self.images_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise JobError(f"cannot read {self.images_file}: {error}; push the image again") from error
        entry = images.get(image) if isinstance(images, dict) else None
        address = entry.get("image") if isinstance(entry, dict) else None
        return address if isinstance(address, str) else None
