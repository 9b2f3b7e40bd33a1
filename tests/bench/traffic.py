"""What a fleet of devices says: registry messages and raw readings of all ten kinds, made fast and always the same."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from enrich.zip_table import load_table
from schemas.kinds import Kind

FIRST_RECEIVED = datetime(2026, 3, 6, tzinfo=UTC)
"""Two days before the clocks of the US go forward."""
GAP_MS = 53
"""Between two readings of the fleet: a million of them fill 15 hours."""
KNOWN_SINCE, SITED_SINCE = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
FIRST_PATIENT = 1_000_000
"""The patient of a device has its number and so many more."""
ZIP_STEP = 7919
"""From one patient's place in the zip table to the next one's."""
_SHARES = {
    Kind.BLOOD_PRESSURE: 25,
    Kind.WEIGHT: 20,
    Kind.BLOOD_GLUCOSE: 15,
    Kind.BLOOD_OXYGEN: 15,
    Kind.HEART_RATE: 8,
    Kind.TEMPERATURE: 5,
    Kind.HEART_RATE_VARIABILITY: 3,
    Kind.PEAK_FLOW: 3,
    Kind.SLEEP_MAT_ACTIVITY: 3,
    Kind.SLEEP_MAT_DURATION: 3,
}
"""Of a hundred devices; each measures one kind."""
_VARIANTS = 64
_SENT_AGAIN_WITHIN = 20_000
"""A reading is sent again while it is one of so many latest ones: some in the same batch, most in a later one."""


class Message(NamedTuple):
    """As a producer gives it to the broker."""

    key: bytes
    received_ms: int
    value: bytes


@dataclass(frozen=True)
class Fleet:
    """`devices` devices with a serial number each; every ten thousandth reading is no JSON."""

    devices: int
    seed: int = 1
    held_of_ten: int = 6
    """So many of ten devices are held by a patient of their own."""
    states: int = 1
    """Of each device: the second one says its site."""

    def device_states(self) -> Iterator[Message]:
        for number in range(1, self.devices + 1):
            held = self._held(number)
            state = {
                "deviceId": number,
                "deviceIdentifiers": [{"type": "serial", "value": f"S{number:07}"}],
                "currentStatus": "withPatient" if held else "customerStock",
                "patientId": FIRST_PATIENT + number if held else None,
                "customerId": number % 7 + 1,
                "effectiveAt": KNOWN_SINCE,
            }
            yield Message(b"%d" % number, _ms(FIRST_RECEIVED), json.dumps(state).encode())
        for number in range(1, self.devices + 1) if self.states == 2 else ():
            state = {"deviceId": number, "siteId": number % 400 + 1, "effectiveAt": SITED_SINCE}
            yield Message(b"%d" % number, _ms(FIRST_RECEIVED), json.dumps(state).encode())

    def patient_states(self) -> Iterator[Message]:
        zips = load_table().zips()
        for number in filter(self._held, range(1, self.devices + 1)):
            zip_code = zips[number * ZIP_STEP % len(zips)]
            state = {
                "patientId": FIRST_PATIENT + number,
                "zipCode": zip_code,
                "country": "USA",
                "customerId": number % 7 + 1,
                "effectiveAt": KNOWN_SINCE,
            }
            yield Message(b"%d" % number, _ms(FIRST_RECEIVED), json.dumps(state).encode())

    def readings(self, count: int, *, resent: float = 0.0) -> Iterator[Message]:
        """In the order in which they are received: most within a minute, one of twenty hours late.

        :param resent: the share of the `count` that is an earlier one once more.
        """
        dice, latest = Random(self.seed + 1), list[Message]()
        for number, message in enumerate(self._new_readings(count)):
            if latest and dice.random() < resent:
                again = latest[dice.randrange(len(latest))]
                yield again._replace(received_ms=message.received_ms)
                continue
            yield message
            if resent and _is_whole(number):
                if len(latest) < _SENT_AGAIN_WITHIN:
                    latest.append(message)
                else:
                    latest[number % _SENT_AGAIN_WITHIN] = message

    def _held(self, number: int) -> bool:
        return number % 10 < self.held_of_ten

    def _new_readings(self, count: int) -> Iterator[Message]:
        random = Random(self.seed)
        kinds = random.choices(list(_SHARES), list(_SHARES.values()), k=self.devices)
        said = {kind: [_members(_measures(kind, random)) for _ in range(_VARIANTS)] for kind in Kind}
        turns = random.sample(range(self.devices), self.devices)
        parts = [
            (b"%d" % (index + 1), kind.encode(), _members(_named(index + 1)), said[kind])
            for index, kind in enumerate(kinds)
        ]
        first_ms = _ms(FIRST_RECEIVED)
        lags = [random.randint(300, 60_000) if random.random() < 0.95 else random.randint(60_000, 40_000_000)
                for _ in range(9_973)]  # fmt: skip
        for number in range(count):
            key, kind, named, measures = parts[turns[number % self.devices]]
            received_ms = first_ms + number * GAP_MS
            if not _is_whole(number):
                yield Message(key, received_ms, b'{"id":%d,"type":"reading.' % number)
                continue
            taken = datetime.fromtimestamp((received_ms - lags[number % 9_973]) / 1000, UTC)
            written = taken.isoformat(timespec="milliseconds")[:-6].encode()
            value = b'{"id":%d,"type":"reading.%s","payload":{"readingTimestamp":"%sZ",%s,%s,"manual":false}}' % (
                57_000_000 + number, kind, written, named, measures[number * 31 % _VARIANTS],
            )  # fmt: skip
            yield Message(key, received_ms, value)


def _is_whole(number: int) -> bool:
    return number % 10_000 != 9_999


def _named(number: int) -> dict[str, Any]:
    """How a device is named: by id, by serial number, or nested, as webhooks send it."""
    offset = {"deviceTimeZoneOffset": -3600 * (5 + number % 4)} if number % 3 else {}
    identifiers = [{"type": "serial", "value": f"S{number:07}"}]
    match number % 10:
        case 0 | 1 | 2 | 3 | 4:
            return {"deviceId": number, **offset}
        case 5 | 6:
            return {"deviceIdentifier": f"S{number:07}", **offset}
        case _:
            return {"device": {"id": number, "deviceIdentifiers": identifiers}, **offset}


def _measures(kind: Kind, random: Random) -> dict[str, Any]:
    rate = random.randint(52, 96)
    mat = {"bodyTurnOver": random.randint(4, 40), "heartRate": rate, "respiration": random.randint(11, 18)}
    match kind:
        case Kind.HEART_RATE:
            return {"heartRate": rate}
        case Kind.HEART_RATE_VARIABILITY:
            return {
                "heartRateVariability": round(random.uniform(18, 92), 1),
                "heartRateVariabilityDuration": 300_000,
                "heartRateVariabilityAlgorithmType": "sdnn",
            }
        case Kind.BLOOD_PRESSURE:
            return {"systolic": random.randint(104, 168), "diastolic": random.randint(62, 99), "heartRate": rate}
        case Kind.BLOOD_GLUCOSE:
            return {"glucose": random.randint(72, 212), "glucoseUnit": "mgdl", "beforeMeal": rate % 2 == 0}
        case Kind.BLOOD_OXYGEN:
            return {"bloodOxygen": random.randint(90, 99), "bloodOxygenUnit": "spO2", "heartRate": rate}
        case Kind.WEIGHT:
            return {"weight": round(random.uniform(118, 242), 1), "weightUnit": "lbs"}
        case Kind.TEMPERATURE:
            return {"temperature": round(random.uniform(36.2, 38.9), 1), "temperatureUnit": "Celsius"}
        case Kind.PEAK_FLOW:
            return {"peakExpiratoryFlow": random.randint(130, 560), "forcedExpiratoryVolumeInOneSecond": 2.4}
        case Kind.SLEEP_MAT_ACTIVITY:
            return {"bedTime": ["21:40~06:10"], "getUpTime": ["02:05~02:15"], "duration": "8h 20m", **mat}
        case Kind.SLEEP_MAT_DURATION:
            return {"deepSleep": 80, "lightSleep": 240, "rem": 90, "duration": "6h 50m", **mat}


def _members(said: dict[str, Any]) -> bytes:
    """What stands between the braces."""
    return json.dumps(said, separators=(",", ":")).encode()[1:-1]


def _ms(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
