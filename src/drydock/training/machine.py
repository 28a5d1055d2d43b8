"""What the machine offers to this process: device, cores, memory limits of its control group."""

import logging
import math
import os
from pathlib import Path

import torch

logger = logging.getLogger(__name__)

_CGROUP = Path("/sys/fs/cgroup")


def cores(cgroup: Path = _CGROUP) -> int:
    """Cores that this process may use: its affinity, and the quota of its container."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota(cgroup)
    return max(1, available if quota is None else min(available, math.ceil(quota)))


def _cpu_quota(cgroup: Path) -> float | None:
    """Cores by the quota of control groups version 2, else 1; None where there is no quota."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass  # not version 2
    try:
        microseconds = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text())
        period_microseconds = int((cgroup / "cpu" / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return microseconds / period_microseconds if microseconds > 0 and period_microseconds > 0 else None


def set_threads(count: int) -> None:
    """Size torch's threads to the cores; OMP_NUM_THREADS, where the user set it, stands."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(count)


def device() -> torch.device:
    """The GPU where there is one that works, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(of: torch.device) -> str:
    if of.type == "cuda":
        return torch.cuda.get_device_name(of)
    return f"CPU, {cores()} cores, {torch.get_num_threads()} threads"


def make_deterministic(seed: int) -> None:
    """Seed torch, and choose kernels that give the same result twice on one machine."""
    # cuBLAS needs its workspace fixed for that, before it is first used:
    # https://docs.nvidia.com/cuda/cublas/index.html#results-reproducibility
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    # A kernel without a deterministic variant is named in the log rather than ending the job.
    torch.use_deterministic_algorithms(True, warn_only=True)  # noqa: FBT003  torch's signature


def default_workers(of: torch.device, available: int) -> int:
    """Loading processes: on a GPU one a core (at most 16), as its core is else idle.

    On a CPU the training fills the cores itself; a worker would take from it what it gives.
    """
    return min(available, 16) if of.type == "cuda" else 0
