"""A training job's metrics, as CloudWatch's clients read them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_mode.service import Service
from local_mode.store import MetricValue

NAMESPACE = "/aws/sagemaker/TrainingJobs"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
# Seconds after noon, and values.
LOSSES = ((10.5, 4.0), (59.9, 2.0), (60.0, 1.0), (250.0, 0.5))


@pytest.fixture(scope="module")
def job(service: Service) -> str:
    """The name of a job with losses, as its run stores them, beside another job's."""
    for name, values in (("watched", LOSSES), ("other", ((0.0, 99.0),))):
        service.jobs.store.create(name=name, arn=f"arn:{name}", request={}, message="Starting")
        service.jobs.store.add_metrics(
            name,
            [
                MetricValue(name="loss", value=value, time=int((NOON.timestamp() + seconds) * 1000))
                for seconds, value in values
            ],
        )
        service.jobs.store.end(name, status="Completed", secondary_status="Completed", message="Done")
    return "watched"


def statistics(client: Any, job: str, *, period: int, start: datetime = NOON) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName="loss",
        Dimensions=[{"Name": "TrainingJobName", "Value": job}],
        StartTime=start,
        EndTime=NOON + timedelta(minutes=10),
        Period=period,
        Statistics=["Average", "Minimum", "Maximum", "Sum", "SampleCount"],
    )["Datapoints"]
    return found


def test_values_by_the_minute(aws: Callable[[str], Any], job: str) -> None:
    """A datapoint is what one minute held, and is named by the minute's beginning."""
    found = {
        (each["Timestamp"] - NOON).total_seconds(): each
        for each in statistics(aws("cloudwatch"), job, period=60)
    }
    assert {seconds: each["Average"] for seconds, each in found.items()} == {0: 3.0, 60: 1.0, 240: 0.5}
    first = found[0]
    assert (first["Minimum"], first["Maximum"], first["Sum"], first["SampleCount"]) == (2.0, 4.0, 6.0, 2.0)


def test_a_start_within_a_minute_takes_the_whole_minute(aws: Callable[[str], Any], job: str) -> None:
    """A job that starts at 12:00:30 finds its values of 12:00: CloudWatch rounds the start down."""
    found = statistics(aws("cloudwatch"), job, period=60, start=NOON + timedelta(seconds=30))
    assert min(each["Timestamp"] for each in found) == NOON


def test_longer_periods(aws: Callable[[str], Any], job: str) -> None:
    """Periods begin at multiples of their length."""
    (only,) = statistics(aws("cloudwatch"), job, period=300)
    assert (only["Timestamp"], only["SampleCount"], only["Average"]) == (NOON, 4.0, 7.5 / 4)


def test_metric_data_and_list(aws: Callable[[str], Any], job: str) -> None:
    """GetMetricData gives the same values; ListMetrics names each job's metric once."""
    client = aws("cloudwatch")
    dimensions = [{"Name": "TrainingJobName", "Value": job}]
    metric = {"Namespace": NAMESPACE, "MetricName": "loss", "Dimensions": dimensions}
    (result,) = client.get_metric_data(
        MetricDataQueries=[{"Id": "q", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Average"}}],
        StartTime=NOON + timedelta(seconds=30),
        EndTime=NOON + timedelta(minutes=10),
        ScanBy="TimestampAscending",
    )["MetricDataResults"]
    assert [(each - NOON).total_seconds() for each in result["Timestamps"]] == [0, 60, 240]
    assert result["Values"] == [3.0, 1.0, 0.5]
    assert client.list_metrics(Namespace=NAMESPACE, Dimensions=dimensions)["Metrics"] == [metric]


def test_metrics_that_a_client_puts(aws: Callable[[str], Any], job: str) -> None:
    """PutMetricData still works beside them."""
    client = aws("cloudwatch")
    client.put_metric_data(Namespace="own", MetricData=[{"MetricName": "m", "Value": 5.0, "Timestamp": NOON}])
    (point,) = client.get_metric_statistics(
        Namespace="own",
        MetricName="m",
        StartTime=NOON,
        EndTime=NOON + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )["Datapoints"]
    assert point["Sum"] == 5.0
