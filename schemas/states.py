"""Device and patient states: what the registry was told, true from a moment on."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pydantic_core import from_json, to_json

from schemas.record import Place
from schemas.value import Value


class About(StrEnum):
    """Whom a state is about."""

    DEVICE = "device"
    PATIENT = "patient"


class Names(NamedTuple):
    """Of identifiers, devices and patients, some, whether or not anything is told of them."""

    identifiers: frozenset[str] = frozenset()
    devices: frozenset[int] = frozenset()
    patients: frozenset[int] = frozenset()

    def union(self, others: "Names") -> "Names":
        return Names(
            self.identifiers | others.identifiers, self.devices | others.devices, self.patients | others.patients
        )


NOBODY: Final = Names()


_BLOCKING: Final = frozenset({"currentStatus", "disabledReadings"})
"""The fields that refuse readings; in a plain export they count only from the day it was recorded."""


class State(Value):
    """What one registry record says of one device or patient, from `effective_at` on."""

    __slots__ = (
        "about",
        "blocking_effective_at",
        "effective_at",
        "effective_at_sent",
        "place",
        "recorded_at",
        "says",
        "subject_id",
    )

    def __init__(
        self,
        about: About,
        subject_id: int,
        says: Mapping[str, Any],
        effective_at: datetime,
        blocking_effective_at: datetime,
        effective_at_sent: bool,
        recorded_at: datetime,
        place: Place,
    ) -> None:
        self.about: Final = about
        self.subject_id: Final = subject_id
        self.says: Final = says
        """The platform's field names and values; a field that is absent here was not said."""
        self.effective_at: Final = effective_at
        """UTC; the earliest instant stands for "always"."""
        self.blocking_effective_at: Final = blocking_effective_at
        """From when `currentStatus` and `disabledReadings` count: later than `effective_at` in an export."""
        self.effective_at_sent: Final = effective_at_sent
        """Whether the message itself told its moment: only then is telling it twice one change."""
        self.recorded_at: Final = recorded_at
        self.place: Final = place

    def said(self) -> tuple[object, ...]:
        return (
            self.about,
            self.subject_id,
            self.says,
            self.effective_at,
            self.blocking_effective_at,
            self.effective_at_sent,
            self.recorded_at,
            self.place,
        )

    def effective_at_of(self, name: str) -> datetime:
        """From when on this state's `name` counts."""
        return self.blocking_effective_at if name in _BLOCKING else self.effective_at

    @property
    def identifiers(self) -> list[str]:
        """The identifiers it names, by value."""
        return [identifier["value"] for identifier in self.says.get("deviceIdentifiers") or ()]

    @property
    def content(self) -> bytes:
        """What it says, in one form: two messages that say the same have it in common."""
        return to_json(dict(sorted(self.says.items())))


def says_from_json(text: str | bytes) -> dict[str, Any]:
    """What a state says, back from the database."""
    says: dict[str, Any] = from_json(text)
    return says
