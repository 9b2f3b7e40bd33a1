"""The law, rules 1 to 8: from one raw record to a reading or a rejection.

One function for the stream, for archives and for corrections. Rule 9, which compares records with each other, follows
where they are stored.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from enrich.law import Law
from enrich.offsets import offset_s
from enrich.registry import Registry
from schemas.envelope import NotUnderstood, understand, understand_line
from schemas.judgement import Accepted, Entry, Judgement, Rejected
from schemas.reading import Reading, canonical_envelope
from schemas.reasons import Reason
from schemas.record import Record

_SEVERAL: Final = -1  # ids are greater than 0


def judge(record: Record, *, first_seen: datetime, registry: Registry, law: Law) -> Entry[Judgement]:
    """What becomes of `record`, by rules 1 to 8. Never raises, whatever the bytes.

    :param first_seen: when the record's source was first seen; stands in for an unknown `received_at` in rule 4.
    """
    understood: Reading | NotUnderstood
    received_at = record.received_at
    if received_at is None and record.place.in_archive:
        understood, received_at = understand_line(record.value, max_bytes=law.max_bytes, max_depth=law.max_depth)
    else:
        understood = understand(record.value, max_bytes=law.max_bytes, max_depth=law.max_depth)
    received_by = received_at or first_seen
    judgement: Judgement
    if isinstance(understood, NotUnderstood):
        judgement = Rejected(understood.reason, understood.detail, understood.kind, payload=record.value or b"")
    # Nearly every reading was taken before it was received: the future begins after that.
    elif not law.earliest <= understood.reading_timestamp <= received_by and (
        implausible := _implausible(understood, received_by, law)
    ):
        reason = Reason.TIMESTAMP_IMPLAUSIBLE
        judgement = Rejected(reason, implausible, understood.kind, understood, payload=record.value or b"")
    else:
        judgement = judge_reading(understood, received_at=received_at, registry=registry, law=law)
    return Entry(record.place, received_at, judgement)


def judge_again(entry: Entry[Judgement], *, first_seen: datetime, registry: Registry, law: Law) -> Entry[Judgement]:
    """What becomes of a line of the ledger by what is known now, from the line itself; the same if nothing changed.

    A line that rule 9 set aside is judged by rules 1 to 8, like any other: whom it gives way to is not asked here.
    """
    judgement, received_at = entry.judgement, entry.received_at
    reading = judgement.reading
    if isinstance(judgement, Rejected) and (reading is None or judgement.reason is Reason.TIMESTAMP_IMPLAUSIBLE):
        if judgement.reason is Reason.UNSTORABLE:
            return entry
        given = Record(entry.place, received_at, judgement.payload)
        again = judge(given, first_seen=first_seen, registry=registry, law=law).judgement
    else:
        assert reading is not None
        implausible = _implausible(reading, received_at or first_seen, law)
        if implausible is not None:
            reason, payload = Reason.TIMESTAMP_IMPLAUSIBLE, canonical_envelope(reading)
            again = Rejected(reason, implausible, reading.kind, reading, payload=payload)
        else:
            again = judge_reading(reading, received_at=received_at, registry=registry, law=law)
    return entry if again == judgement else Entry(entry.place, received_at, again)


def unregistered_mentions(judgement: Judgement, registry: Registry) -> list[tuple[int, str | None, int | None]]:
    """What an accepted reading names though the registry does not tell of it: (subject, identifier, patient).

    Identifiers of nobody, and a patient who does not have the device. A later state of theirs touches this reading, and
    would not be led to it by the device's own history.
    """
    reading, device_id = judgement.reading, judgement.device_id
    if reading is None or device_id is None or not isinstance(judgement, Accepted):
        return []
    found: list[tuple[int, str | None, int | None]] = [
        (device_id, value, None) for value in reading.identifiers_named if registry.owner(value) is None
    ]
    if reading.patient_id_named is not None:
        holding = registry.device(device_id, at=reading.reading_timestamp)
        if holding is None or holding.patient_id != reading.patient_id_named:
            found.append((device_id, None, reading.patient_id_named))
    return found


def mentions(entries: Iterable[Entry[Judgement]], registry: Registry) -> list[tuple[int, str | None, int | None]]:
    """What those that are accepted name though the registry does not tell of it, each once."""
    found: list[tuple[int, str | None, int | None]] = []
    for entry in entries:
        reading = entry.judgement.reading
        if reading is not None and (reading.identifiers_named or reading.patient_id_named is not None):
            found += unregistered_mentions(entry.judgement, registry)
    return list(dict.fromkeys(found))


def judge_reading(reading: Reading, *, received_at: datetime | None, registry: Registry, law: Law) -> Judgement:
    """What becomes of a reading that passed rules 1 to 4, by rules 5 to 8: all that depends on the registry."""
    moment = reading.reading_timestamp
    received_at = received_at or moment

    device_id = _device_named(reading, registry) if reading.identifiers_named else reading.device_id_named
    if device_id == _SEVERAL:
        return _refuse(reading, Reason.DEVICE_MISMATCH)
    device, device_history = None, None if device_id is None else registry.history_of_device(device_id)
    if device_history is not None:
        device = device_history.at(received_at)
        if device.status in law.blocked_statuses:
            return _refuse(reading, Reason.DEVICE_DECOMMISSIONED, device_id, customer_id=device.customer_id)
        if device.readings_disabled:
            return _refuse(reading, Reason.READINGS_DISABLED, device_id, customer_id=device.customer_id)
    elif reading.names_a_device:
        return _refuse(reading, Reason.UNKNOWN_DEVICE)

    patient_id = reading.patient_id_named
    if patient_id is None and device_history is not None:
        patient_id = device_history.at(moment).patient_id
    zone, patient_customer = None, None
    if patient_id is not None and (patient_history := registry.history_of_patient(patient_id)) is not None:
        zone = patient_history.at(moment).time_zone
        patient_customer = patient_history.at(received_at).customer_id
    device_customer = None if device is None else device.customer_id
    customer_id = patient_customer if device_customer is None else device_customer
    if reading.patient_id_named is not None and patient_customer not in (None, customer_id):
        return _refuse(reading, Reason.CUSTOMER_MISMATCH, device_id, patient_id, customer_id)

    offset = None if zone is None else offset_s(zone, moment)
    return Accepted(reading, device_id, patient_id, customer_id, zone, offset)


def _implausible(reading: Reading, received_at: datetime, law: Law) -> str | None:
    if reading.reading_timestamp < law.earliest:
        return f"payload.readingTimestamp: before {law.earliest:%Y-%m-%d}"
    if reading.reading_timestamp - received_at > law.future_limit:
        return f"payload.readingTimestamp: more than {law.future_limit / timedelta(hours=1):g} h after it was received"
    return None


def _device_named(reading: Reading, registry: Registry) -> int | None:
    """The one device that a reading names, `_SEVERAL`, or None; an identifier of nobody names none."""
    device_id = reading.device_id_named
    for value in reading.identifiers_named:
        owner = registry.owner(value)
        if owner is not None and owner != device_id:
            if device_id is not None:
                return _SEVERAL
            device_id = owner
    return device_id


def _refuse(
    reading: Reading,
    reason: Reason,
    device_id: int | None = None,
    patient_id: int | None = None,
    customer_id: int | None = None,
) -> Rejected:
    return Rejected(
        reason,
        None,
        reading.kind,
        reading,
        device_id,
        patient_id,
        customer_id,
        payload=canonical_envelope(reading),
    )
