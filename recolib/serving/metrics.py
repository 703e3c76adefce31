"""Metrics: what Prometheus reads of a server."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

BUCKETS = 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Where the workers of a server put their numbers, so that each of them shows those of all."""


class ServerMetrics:
    """The numbers of one server, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "recolib_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "recolib_request_seconds",
            "Seconds from a request to its answer.",
            ["route"],
            registry=registry,
            buckets=BUCKETS,
        )
        self.in_flight = Gauge(
            "recolib_requests_in_flight", "Requests that wait or are answered.", registry=registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self.users = Counter("recolib_users", "Users that lists were made for.", ["known"], registry=registry)
        self.events = Counter("recolib_events", "Events that were stored.", registry=registry)
        self.history_failures = Counter(
            "recolib_history_failures", "Reads and writes of the history store that failed.", registry=registry
        )
        self.serves = Gauge(
            "recolib_model_served", "Processes that serve a version of the model.", ["model_version"],
            registry=registry, multiprocess_mode="livesum",
        )  # fmt: skip
        self.served_since = Gauge(
            "recolib_model_served_since_seconds", "When the model came into service.", registry=registry,
            multiprocess_mode="livemin",
        )  # fmt: skip
        self.failed_loads = Counter("recolib_model_failed_loads", "Models that failed to load.", registry=registry)
        ProcessCollector(registry=registry)
        self._versions: dict[str, str] = {}

    def count_model(self, version: str, place: str = "current") -> None:
        """Say which version this process serves, as the current one or beside it."""
        before = self._versions.get(place)
        self._versions[place] = version
        if before is not None and before not in self._versions.values():
            self.serves.labels(before).set(0)
        self.serves.labels(version).set(1)
        if place == "current":
            self.served_since.set_to_current_time()

    def text(self) -> bytes:
        """All of them as Prometheus reads them."""
        if FOLDER not in os.environ:
            return generate_latest(self._registry)
        of_all = CollectorRegistry()
        MultiProcessCollector(of_all)
        return generate_latest(of_all)
