"""Service: what every operation works on."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from drydock import __version__
from local_mode.collect import Collector, Freed, Limits
from local_mode.engines.base import Listeners
from local_mode.home import Home
from local_mode.logs import LogStore
from local_mode.s3.store import ObjectStore
from local_mode.training_jobs.manager import TrainingJobs

REGION = "us-east-1"
ACCOUNT = "000000000000"  # twelve digits that are nobody's; moto's services answer with the same


@dataclass(frozen=True, kw_only=True)
class Service:
    """The running service, as operations see it."""

    home: Home
    objects: ObjectStore
    logs: LogStore
    jobs: TrainingJobs
    listeners: Listeners  # where else it answers
    endpoint: str  # http://127.0.0.1:PORT
    region: str = REGION
    account: str = ACCOUNT

    def health(self) -> dict[str, Any]:
        """What `GET /_drydock/health` and `status` say."""
        return {
            "status": "ready",
            "endpoint": self.endpoint,
            "engine": self.jobs.engine_name,
            "engine_reason": self.jobs.engine_reason,
            "home": str(self.home.root),
            "version": __version__,
            "training_jobs": dict(Counter(job.status for job in self.jobs.store.all())),
        }

    def collect(self, limits: Limits) -> Freed:
        """Removes what nobody needs any more: `gc`."""
        return Collector(self.home, objects=self.objects, logs=self.logs, store=self.jobs.store).collect(
            limits
        )
