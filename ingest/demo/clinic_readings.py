"""How the clinic's devices speak: measures of every kind, in the platform's envelope, named in every way it knows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any, Final

from ingest.demo.clinic_registry import Device, Naming, device_offset_s, holder
from schemas.kinds import Kind
from schemas.reasons import Reason


@dataclass(frozen=True, slots=True)
class RawReading:
    """One raw record, and what it should become: whoever wrote it knows why it is what it is."""

    key: bytes
    value: bytes | None
    received_at: datetime
    becomes: Reason | None
    """None: accepted."""
    story: str
    """Why, for a person."""
    published_at: datetime
    """Its turn in the log; later than `received_at` where a gateway kept it back."""


class Notebook:
    """The raw readings written so far. Keeps watch that no two that should be accepted have one natural key."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.written: list[RawReading] = []
        self._keys: set[tuple[int, Kind, datetime]] = set()
        self._number = 57_000_000

    def take(
        self,
        device: Device,
        at: datetime,
        story: str,
        *,
        received_at: datetime | None = None,
        becomes: Reason | None = None,
        payload: Mapping[str, Any] | None = None,
    ) -> RawReading:
        """A reading of the device at a moment, with `payload` in place of what it would say by itself."""
        at = at.replace(microsecond=0)
        said = {**self.payload(device, at), **(payload or {})}
        if becomes is None:
            self.accept_once(device.id, device.kind, at)
        return self.write(
            str(device.id), self.envelope(device.kind, said), received_at or self.soon_after(at), becomes, story
        )

    def write(
        self,
        key: str,
        value: bytes | None,
        received_at: datetime,
        becomes: Reason | None,
        story: str,
        *,
        published_at: datetime | None = None,
    ) -> RawReading:
        reading = RawReading(key.encode(), value, received_at, becomes, story, published_at or received_at)
        self.written.append(reading)
        return reading

    def accept_once(self, subject: int, kind: Kind, at: datetime) -> None:
        key = (subject, kind, at)
        assert key not in self._keys, f"the demo itself takes {kind} of {subject} at {at} twice"
        self._keys.add(key)

    def payload(self, device: Device, at: datetime) -> dict[str, Any]:
        """What the device says when it measures at `at`."""
        offset = device_offset_s(device, at)
        said = {
            "readingTimestamp": written_time(at, device.id),
            **_named(device, at),
            **measures(device.kind, self.random),
            "manual": False,
        }
        if offset is not None:
            said["deviceTimeZoneOffset"] = offset
        if device.naming is Naming.WEBHOOK:
            said["id"] = self._number + 1
        return said

    def envelope(self, kind: str, payload: object) -> bytes:
        self._number += 1
        return envelope(f"reading.{kind}", payload, number=self._number)

    def soon_after(self, at: datetime) -> datetime:
        """When the broker receives what is measured at `at`: soon, or hours later where the device had no network."""
        if self.random.random() < 0.05:  # noqa: PLR2004
            return at + timedelta(seconds=self.random.randint(3_600, 72_000))
        return at + timedelta(milliseconds=self.random.randint(1_500, 90_000))


def envelope(reading_type: object, payload: object, *, number: int) -> bytes:
    """The platform's envelope, as text of JSON (NaN included, for those who want it broken)."""
    return json.dumps({"id": number, "type": reading_type, "payload": payload}, separators=(",", ":")).encode()


def written_time(at: datetime, style: int) -> str:
    """One instant in the ways that senders write it."""
    match style % 4:
        case 0:
            return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case 1:
            return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case 2:
            return at.astimezone(UTC).isoformat()
        case _:
            return at.astimezone(timezone(timedelta(hours=-5))).isoformat()


def _named(device: Device, at: datetime) -> dict[str, Any]:
    match device.naming:
        case Naming.ID:
            return {"deviceId": device.id}
        case Naming.IDENTIFIER:
            return {"deviceIdentifier": device.serial}
        case Naming.NESTED_IDENTIFIERS:
            return {"device": {"deviceIdentifiers": device.identifiers}}
        case Naming.WEBHOOK:
            nested = {"id": device.id, "deviceIdentifiers": device.identifiers, "currentStatus": device.status}
            patient = holder(device, at)
            return {"device": nested} if patient is None else {"device": nested, "patient": {"id": patient.id}}


_BED_TIMES: Final = ("2026-10-30/21:40", "2026-10-30/22:05", "2026-10-30/22:31")


def measures(kind: Kind, random: Random) -> dict[str, Any]:  # noqa: C901 - one case a kind
    """What a device of this kind measures, within what people have."""
    rate, turns, breaths = random.randint(52, 96), random.randint(4, 40), random.randint(11, 18)
    match kind:
        case Kind.HEART_RATE:
            return {"heartRate": rate}
        case Kind.HEART_RATE_VARIABILITY:
            return {
                "heartRateVariability": round(random.uniform(18, 92), 1),
                "heartRate": rate,
                "heartRateVariabilityDuration": 300_000,
                "heartRateVariabilityAlgorithmType": random.choice(["sdnn", "sdann", "sdrr"]),
            }
        case Kind.BLOOD_PRESSURE:
            return {"systolic": random.randint(104, 168), "diastolic": random.randint(62, 99), "heartRate": rate}
        case Kind.BLOOD_GLUCOSE:
            before = random.random() < 0.5  # noqa: PLR2004
            glucose = random.randint(72, 212)
            return {"glucose": glucose, "glucoseUnit": "mgdl", "beforeMeal": before, "afterMeal": not before}
        case Kind.BLOOD_OXYGEN:
            return {"bloodOxygen": random.randint(90, 99), "bloodOxygenUnit": "spO2", "heartRate": rate}
        case Kind.WEIGHT:
            return {"weight": round(random.uniform(118, 242), 1), "weightUnit": "lbs"}
        case Kind.TEMPERATURE:
            if random.random() < 0.5:  # noqa: PLR2004
                return {"temperature": round(random.uniform(36.2, 38.9), 1), "temperatureUnit": "Celsius"}
            return {"temperature": round(random.uniform(97.2, 101.9), 1), "temperatureUnit": "F"}
        case Kind.PEAK_FLOW:
            volume = round(random.uniform(0.8, 3.9), 2)
            return {"peakExpiratoryFlow": random.randint(130, 560), "forcedExpiratoryVolumeInOneSecond": volume}
        case Kind.SLEEP_MAT_ACTIVITY:
            slept = {"bedTime": [random.choice(_BED_TIMES)], "getUpTime": ["2026-10-31/06:20"], "duration": "7:48"}
            return {**slept, "bodyTurnOver": turns, "heartRate": rate, "respiration": breaths}
        case Kind.SLEEP_MAT_DURATION:
            slept_min = {"deepSleep": random.randint(40, 110), "lightSleep": 243, "rem": random.randint(60, 120)}
            return {**slept_min, "duration": "7:12", "bodyTurnOver": turns, "heartRate": rate, "respiration": breaths}
