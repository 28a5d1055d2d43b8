"""What is to be sent: a file of documents, and what the command line says about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drydock.contract import PROGRAM_HYPERPARAMETER
from jobs import document
from jobs.channels import DATA_VARIABLE, ChannelChange, ListFolders, with_channels
from jobs.document import Request
from jobs.source import Source
from jobs.variables import SOURCE_VARIABLE, Variables


@dataclass(frozen=True, kw_only=True)
class Order:
    """A file, the changes to it, and the values of its variables."""

    file: Path
    changes: Sequence[document.Change]
    channels: Sequence[ChannelChange]
    variables: Variables

    @property
    def lists_s3(self) -> bool:
        """Whether `requests` must look into a bucket to know which channels DATA holds."""
        return self.variables.environment.get(DATA_VARIABLE, "").startswith("s3://")

    @property
    def source(self) -> Source | None:
        """The folder to upload before the requests are sent; None where no document asks for one."""
        asked = any(SOURCE_VARIABLE in document.variables_in(request) for request in document.read(self.file))
        return self.variables.source if asked else None

    def requests(self, list_folders: ListFolders) -> list[Request]:
        """The pure requests, valid as far as this machine can tell. Raises `JobError`.

        `list_folders` is called only where `lists_s3`.
        """
        filled = [self._filled(request, list_folders) for request in document.read(self.file)]
        changed = document.apply(self.changes, filled)
        document.check(changed, allow_file_uris=self.variables.local)
        if self.source is not None:
            for request in changed:
                if program := request.get("HyperParameters", {}).get(PROGRAM_HYPERPARAMETER):
                    self.source.require(program.strip('"'))
        return changed

    def _filled(self, request: Request, list_folders: ListFolders) -> Request:
        if "TrainingJobName" in request:
            request = with_channels(
                request,
                data=lambda: self.variables(DATA_VARIABLE),
                changes=self.channels,
                local=self.variables.local,
                list_folders=list_folders,
            )
        filled: Request = document.fill(request, self.variables)
        return filled
