"""The demo's clinic, made up: the same on every machine and on every day.

Who writes a record knows what it should become, so the counts that the demo checks are known by construction; nothing
here judges a reading.
"""

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Final

from ingest.demo.clinic_readings import Notebook, RawReading
from ingest.demo.clinic_registry import DEVICES, PATIENTS, RegistryMessage, registry_messages
from ingest.demo.clinic_stories import STORIES
from schemas.reasons import Reason

SEED: Final = 20261101


@dataclass(frozen=True, slots=True)
class Clinic:
    registry: tuple[RegistryMessage, ...]
    """In the order of telling."""
    raw: tuple[RawReading, ...]
    """In the order of the log."""

    @property
    def accepted(self) -> int:
        return sum(reading.becomes is None for reading in self.raw)

    @property
    def expected(self) -> Counter[Reason]:
        """How many are refused, by reason."""
        return Counter(reading.becomes for reading in self.raw if reading.becomes is not None)

    @property
    def devices(self) -> int:
        return len(DEVICES)

    @property
    def patients(self) -> int:
        return len(PATIENTS)


def make_clinic(seed: int = SEED) -> Clinic:
    """The clinic; another seed measures other values at other seconds."""
    notebook = Notebook(Random(seed))  # noqa: S311 - made up, and the same each time
    for story in STORIES:
        story(notebook)
    raw = sorted(notebook.written, key=lambda reading: reading.published_at)
    return Clinic(tuple(registry_messages()), tuple(raw))
