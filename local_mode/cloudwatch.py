"""The metrics of training jobs as CloudWatch shows them: moto answers, the job store has the values.

On AWS a job's metrics are in the namespace /aws/sagemaker/TrainingJobs, under their MetricDefinition's
Name with the dimension TrainingJobName; CloudWatch keeps them by the minute. They are read with every
request, so they outlive the service as the jobs do. Imported by `moto_services`, with the first request.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.cloudwatch.exceptions import InvalidParameterValue
from moto.cloudwatch.models import (
    CloudWatchBackend,
    MetricAggregatedDatum,
    MetricDatumBase,
    Statistics,
    cloudwatch_backends,
)

from local_mode.store import MetricMinute

NAMESPACE = "/aws/sagemaker/TrainingJobs"
DIMENSION = "TrainingJobName"
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  moto's times are UTC and say nothing of it


def install(account: str, minutes: Callable[[], Sequence[MetricMinute]]) -> None:
    """Has moto's CloudWatch of this account show what `minutes` gives, in every region."""
    backends = cloudwatch_backends[account]
    backends.clear()
    backends.backend = type("Backend", (_Backend,), {"minutes": staticmethod(minutes)})


class _Backend(CloudWatchBackend):
    """Moto's own, with the jobs' metrics among those that were put, and CloudWatch's clean periods."""

    minutes: Callable[[], Sequence[MetricMinute]]

    def get_all_metrics(self) -> list[MetricDatumBase]:
        return [*super().get_all_metrics(), *(_datum(each) for each in self.minutes())]

    def get_metric_statistics(  # noqa: PLR0917  moto calls it so
        self,
        namespace: str,
        metric_name: str,
        start_time: datetime,
        end_time: datetime,
        period: int,
        stats: list[str],
        dimensions: list[dict[str, str]],
        unit: str | None = None,
    ) -> list[Statistics]:
        """One Statistics a period; periods begin at multiples of their length, as CloudWatch's do.

        moto's begin at the first value.
        """
        length = timedelta(seconds=period)
        start, end = _floor(start_time, length), end_time.replace(tzinfo=None)
        if start >= end:
            raise InvalidParameterValue("The parameter StartTime must be less than the parameter EndTime.")
        wanted = {(each["Name"], each["Value"]) for each in dimensions}
        periods: dict[datetime, Statistics] = {}
        for metric in self.get_all_metrics():
            if (
                start <= metric.timestamp < end
                and (metric.namespace, metric.name) == (namespace, metric_name)
                and {(each.name, each.value) for each in metric.dimensions} == wanted
                and unit in (None, metric.unit)
            ):
                begin = _floor(metric.timestamp, length)
                found = periods.setdefault(begin, Statistics(stats, begin, metric.unit))
                found.metric_data.append(metric)
        return [periods[begin] for begin in sorted(periods)]

    def get_metric_data(
        self,
        queries: list[dict[str, Any]],
        start_time: datetime,
        end_time: datetime,
        scan_by: str = "TimestampAscending",
    ) -> list[dict[str, Any]]:
        """Periods counted from a whole minute, as CloudWatch does, where moto takes the start as it is."""
        results: list[dict[str, Any]] = super().get_metric_data(
            queries, _floor(start_time, timedelta(minutes=1)), end_time, scan_by
        )
        return results


def _datum(minute: MetricMinute) -> MetricAggregatedDatum:
    return MetricAggregatedDatum(
        namespace=NAMESPACE,
        name=minute.name,
        min_stat=minute.minimum,
        max_stat=minute.maximum,
        sample_count=float(minute.count),
        sum_stat=minute.total,
        dimensions=[{"Name": DIMENSION, "Value": minute.job}],
        timestamp=datetime.fromtimestamp(minute.time / 1000, tz=UTC).replace(tzinfo=None),
        unit="None",
    )


def _floor(moment: datetime, length: timedelta) -> datetime:
    moment = moment.replace(tzinfo=None)
    return moment - (moment - _EPOCH) % length
