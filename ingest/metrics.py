"""Every metric once, with its sentence. They count the ledger: lines added less lines removed are what stands."""

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from enrich.offsets import tzdb_version
from ingest.batch import Batch
from ingest.change import Change
from ingest.health import Health
from ingest.lag import Lag

PREFIX: Final = "device_readings_"
GAUGES: Final = {
    "ready": "1 when /ready says yes, else 0.",
    "lag_records": "Records from the stored position to the log's end, of each partition that this process has.",
    "lag_seconds": "How long ago the broker received the oldest record that is taken and not stored; 0 without one.",
    "oldest_unwritten_seconds": "How long the oldest record in hand has been waiting to be stored, by our own clock.",
    "corrections_pending": "Pieces of work left from late changes of the registry; what is stored is right at 0.",
    "registry_version": "The version of the registry that this process judges with.",
}
"""Those that are looked at when they are asked for."""


class Metrics:
    """What one process tells Prometheus. Each process counts from its own start, as counters do."""

    def __init__(self, health: Health, lags: dict[str, Lag], zip_table: str) -> None:
        self.exposed = CollectorRegistry()
        self.corrections_pending: int | None = None
        self.registry_version = 0
        self._health, self._lags = health, lags
        self._batches = self._counter("batches", "Transactions that stored records.", "holds")
        self._records = self._counter("records", "Records stored, whatever became of them.", "holds")
        self._missing = self._counter("missing", "Offsets noted as gaps: never given to us by the broker.", "kind")
        self._added = self._counter(
            "lines_added", "Lines added to the ledger, by fate: reading, state, or the reason of a rejection.", "fate"
        )
        self._removed = self._counter(
            "lines_removed", "Lines that corrections and rule 9 took out again, by the fate they had.", "fate"
        )
        self._seconds = Histogram(
            f"{PREFIX}batch_seconds",
            "How long the transactions that stored records took, with the judging that was not done ahead.",
            ["holds"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600),
            registry=self.exposed,
        )
        info = Info(PREFIX.rstrip("_"), "What runs, and what it judges by.", registry=self.exposed)
        info.info({"version": version("device-readings"), "tzdb": tzdb_version(), "zip_table": zip_table})
        ProcessCollector(registry=self.exposed)
        self.exposed.register(_Now(self._gauges))

    def stored(self, holds: str, batch: Batch, change: Change, seconds: float) -> None:
        """A transaction has stored these records; it took so long."""
        self._seconds.labels(holds).observe(seconds)
        self._batches.labels(holds).inc()
        self._records.labels(holds).inc(len(batch.records))
        for move in batch.moves:
            for gap in move.gaps:
                self._missing.labels(gap.kind).inc(gap.next_offset - gap.first_offset)
        self.changed(change)

    def changed(self, change: Change) -> None:
        """A transaction has done this to the ledger."""
        for fate, lines in change.added.items():
            self._added.labels(fate).inc(lines)
        for fate, lines in change.removed.items():
            self._removed.labels(fate).inc(lines)

    def _counter(self, name: str, sentence: str, label: str) -> Counter:
        return Counter(f"{PREFIX}{name}", sentence, [label], registry=self.exposed)

    def _gauges(self) -> Iterator[tuple[str, dict[tuple[str, ...], float]]]:
        partitions = [partition for lag in list(self._lags.values()) for partition in lag.partitions]
        yield "ready", {(): float(not self._health.hindrances)}
        yield "lag_records", {(p.topic, str(p.partition)): p.records for p in partitions if p.records is not None}
        yield "lag_seconds", {(p.topic, str(p.partition)): p.seconds for p in partitions}
        yield "oldest_unwritten_seconds", {(): max((lag.oldest_unwritten_s for lag in self._lags.values()), default=0)}
        yield "corrections_pending", {} if self.corrections_pending is None else {(): self.corrections_pending}
        yield "registry_version", {(): self.registry_version}


class _Now(Collector):
    """Gauges that are looked at when they are asked for."""

    def __init__(self, look: Callable[[], Iterable[tuple[str, dict[tuple[str, ...], float]]]]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        for name, values in self._look():
            labels = ["topic", "partition"] if name.startswith("lag_") else []
            gauge = GaugeMetricFamily(f"{PREFIX}{name}", GAUGES[name], labels=labels)
            for label_values, value in values.items():
                gauge.add_metric(label_values, value)
            yield gauge
