"""How a job ends, in AWS's words where it has some."""

from dataclasses import dataclass

from drydock.contract import FAILURE_REASON_MAX_CHARACTERS
from local_mode.engines.base import DISK_FULL
from local_mode.errors import disk_is_full
from local_mode.store import COMPLETED, FAILED, STOPPED

_OURS = "InternalServerError: "


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The last status of a job."""

    status: str
    secondary_status: str
    message: str
    failure_reason: str | None = None

    @classmethod
    def failed(cls, reason: str) -> "Ending":
        return cls(
            status=FAILED,
            secondary_status="Failed",
            message="Training job failed",
            failure_reason=reason[:FAILURE_REASON_MAX_CHARACTERS],
        )

    @classmethod
    def failed_by(cls, error: Exception) -> "Ending":
        """By an error that nobody foresaw: ours, unless the disk is full."""
        if disk_is_full(error):
            hint = "free some space (python -m local_mode gc --older-than 7d)"
            return cls.failed(f"{DISK_FULL}: {error}; {hint}")
        return cls.failed(f"{_OURS}{type(error).__name__}: {error}")

    @property
    def is_ours(self) -> bool:
        """Whether the platform failed, not the program or the request: what a RetryStrategy is for."""
        return (self.failure_reason or "").startswith(_OURS)


COMPLETION = Ending(status=COMPLETED, secondary_status="Completed", message="Training job completed")
STOP = Ending(status=STOPPED, secondary_status="Stopped", message="Training job stopped")
MAX_RUNTIME = Ending(
    status=STOPPED,
    secondary_status="MaxRuntimeExceeded",
    message="Training job runtime exceeded MaxRuntimeInSeconds provided",
)
LOST = Ending.failed(
    f"{_OURS}the local SageMaker ended without a word while the job ran, "
    "and its program is gone or was run by another engine"
)
