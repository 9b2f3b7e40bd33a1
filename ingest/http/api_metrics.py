"""What `readings serve` tells Prometheus besides what every service does."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from ingest.metrics import PREFIX

OTHER: Final = "other"
"""Stands for what clients may make up: a label has a bounded number of values, and none of them personal."""


class ApiMetrics:
    """Requests by operation and status, events of webhooks by type and fate."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            f"{PREFIX}api_requests", "Requests answered over HTTP.", ["operation", "status"], registry=registry
        )
        self._seconds = Histogram(
            f"{PREFIX}api_request_seconds",
            "How long the answers took, the body having arrived.",
            ["operation"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
            registry=registry,
        )
        self._events = Counter(
            f"{PREFIX}webhook_events",
            "Events of webhooks acknowledged, by what became of them: reading, state, nothing_told or unknown.",
            ["type", "fate"],
            registry=registry,
        )

    def answered(self, operation: str, status: int, seconds: float) -> None:
        self._requests.labels(operation, str(status)).inc()
        self._seconds.labels(operation).observe(seconds)

    def event(self, event_type: str, fate: str) -> None:
        self._events.labels(event_type, fate).inc()
