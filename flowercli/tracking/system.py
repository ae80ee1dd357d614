"""Sample processor, memory, disk, network and GPU with MLflow's own monitors, into the spool.

MLflow's monitoring thread stops for good when the server once does not answer, so only its monitors are used.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

PREFIX = "system/"


class SystemMetrics(threading.Thread):
    """Takes a sample at once, then every ten seconds (``MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL``).

    Args:
        record: called with the number of the sample and its values by name.
    """

    def __init__(self, record: Callable[[int, dict[str, float]], None]) -> None:
        from mlflow.environment_variables import MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL

        super().__init__(name="system-metrics", daemon=True)
        self.interval = float(MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.get() or 10)
        self._record = record
        self._monitors = _monitors()
        self._stop_now = threading.Event()

    def run(self) -> None:
        """Sample until told to stop."""
        number = 0
        while not self._stop_now.wait(self.interval if number else 0):
            self._record(number, self._sample())
            number += 1

    def stop(self) -> None:
        """Stop, after a sample that is being taken."""
        self._stop_now.set()
        self.join()

    def _sample(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            values |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        return {PREFIX + name: float(value) for name, value in values.items()}


def _monitors() -> list[Any]:
    """Return what this machine has: the GPU monitors refuse to be made where there is none, each in its own way."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    found: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    for monitor in (GPUMonitor, ROCMMonitor):
        with contextlib.suppress(Exception):
            found.append(monitor())
    return found
