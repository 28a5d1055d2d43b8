"""EnableNetworkIsolation: a container that reaches nothing, with its data delivered all the same."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.harness import BUCKET, LocalSageMaker
from tests.engines.images import Images, request_for

pytestmark = [pytest.mark.slow, pytest.mark.docker]

# The host's addresses that a container may know: its own network's gateway, and Docker's own bridge.
REACH = """\
#!/bin/bash
cat /opt/ml/input/data/train/one
echo "endpoint: ${AWS_ENDPOINT_URL:-none}"
getent hosts algo-1 > /dev/null && echo "its own name resolves"
hex=$(awk '$2 == "00000000" {print $3}' /proc/net/route)
gateway=$(printf '%d.%d.%d.%d' 0x${hex:6:2} 0x${hex:4:2} 0x${hex:2:2} 0x${hex:0:2})
for address in "$gateway" 172.17.0.1 "${PUBLIC}"; do
  timeout 3 bash -c "exec 3<>/dev/tcp/$address/${PORT}" 2>/dev/null && echo "reached $address"
done
echo weights > /opt/ml/model/weights
echo "end"
"""


@pytest.fixture
def listening() -> Iterator[tuple[str, int]]:
    """An address of this machine beside the loopback, and a port that answers on every address."""
    with contextlib.closing(socket.create_server(("0.0.0.0", 0))) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing; it picks the address that packets would have
            address = str(probe.getsockname()[0])
        yield address, server.getsockname()[1]


@pytest.mark.parametrize("isolated", [False, True])
def test_an_isolated_container_reaches_nothing(
    docker_service: LocalSageMaker,
    images: Images,
    listening: tuple[str, int],
    tmp_path: Path,
    *,
    isolated: bool,
) -> None:
    """With EnableNetworkIsolation a job has its data, leaves its model and reaches no address."""
    docker_service.client("s3").put_object(Bucket=BUCKET, Key="isolated/one", Body=b"data is here\n")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/isolated/"}
    name = f"isolation-{str(isolated).lower()}"
    address, port = listening
    description = docker_service.run(
        request_for(
            docker_service,
            name,
            images.script(name, REACH),
            EnableNetworkIsolation=isolated,
            Environment={"PORT": str(port), "PUBLIC": address},
            InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        )
    )
    log = docker_service.log(name)
    assert description["TrainingJobStatus"] == "Completed", log
    assert description["EnableNetworkIsolation"] is isolated
    assert {"data is here", "its own name resolves", "end"} <= set(log)
    assert ("endpoint: none" in log) is isolated
    assert any(line.startswith("reached ") for line in log) is not isolated
    model = docker_service.unpack(description["ModelArtifacts"]["S3ModelArtifacts"], tmp_path / "model")
    assert (model / "weights").read_text() == "weights\n"
