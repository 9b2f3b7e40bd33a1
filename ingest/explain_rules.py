"""The rules in the order of the law, and what decided each, in sentences for an auditor.

Each answer is looked up in the states themselves, by the functions that the judgement stands on, so that the one state
that says it can be named. Zip codes are never told.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from enrich.as_of import Said, as_of, changes, customer_of_patient, history, home, value_of
from enrich.law import Law
from enrich.offsets import offset_s
from enrich.registry import Registry
from enrich.zones import Zones
from ingest.explanation import By, Step, said
from schemas.judgement import Accepted, Judgement
from schemas.reading import Reading
from schemas.reasons import Reason
from schemas.states import State
from sinks.told import Owned


@dataclass(frozen=True, slots=True)
class Known:
    """All that the registry was told of those whom a reading concerns."""

    devices: Mapping[int, Sequence[State]]
    patients: Mapping[int, Sequence[State]]
    owners: Mapping[str, Owned]

    def registry(self, zones: Zones) -> Registry:
        """What the judgement is given of it."""
        registry = Registry(zones)
        states = [state for told in (*self.devices.values(), *self.patients.values()) for state in told]
        owners = {identifier: owned.device_id for identifier, owned in self.owners.items()}
        registry.learn(states, owners, version=1)
        return registry


@dataclass(slots=True)
class Walk:
    """Rules 4 to 8 walked with one reading, as far as it gets."""

    reading: Reading
    received_at: datetime | None
    first_seen: datetime
    known: Known
    law: Law
    zones: Zones
    steps: list[Step] = field(default_factory=list)
    refused: Reason | None = None
    device_id: int | None = None
    patient_id: int | None = None
    customer_id: int | None = None
    zone: str | None = None
    offset_s: int | None = None

    @property
    def moment(self) -> datetime:
        """As of when rules 5 to 7 ask, but for the patient."""
        return self.received_at or self.reading.reading_timestamp

    def agrees_with(self, judgement: Judgement) -> bool:
        """Whether the judgement came to the same."""
        if not isinstance(judgement, Accepted):
            return self.refused is judgement.reason
        found = (self.device_id, self.patient_id, self.customer_id, self.zone, self.offset_s)
        return self.refused is None and found == (
            judgement.device_id,
            judgement.patient_id,
            judgement.customer_id,
            judgement.patient_time_zone,
            judgement.patient_time_zone_offset,
        )


def walk(walked: Walk) -> Walk:
    """Through the rules until one refuses."""
    for rule in (_rule_4, _rule_5, _rule_6, _rule_7, _rule_8):
        walked.refused = rule(walked)
        if walked.refused is not None:
            break
    return walked


def _rule_4(walked: Walk) -> Reason | None:
    taken, received, law = walked.reading.reading_timestamp, walked.received_at, walked.law
    if received is None:
        received = walked.first_seen
        walked.steps.append(
            Step(4, f"When it was received is not known; its source was first seen at {said(received)}.")
        )
    hours = f"{law.future_limit / timedelta(hours=1):g} h"
    if taken < law.earliest:
        walked.steps.append(Step(4, f"It was taken at {said(taken)}, before {said(law.earliest)}."))
        return Reason.TIMESTAMP_IMPLAUSIBLE
    if taken - received > law.future_limit:
        walked.steps.append(Step(4, f"It was taken at {said(taken)}, more than {hours} after {said(received)}."))
        return Reason.TIMESTAMP_IMPLAUSIBLE
    walked.steps.append(
        Step(4, f"It was taken at {said(taken)}: not before {said(law.earliest)}, nor {hours} after {said(received)}.")
    )
    return None


def _rule_5(walked: Walk) -> Reason | None:
    reading, known, steps = walked.reading, walked.known, walked.steps
    if not reading.names_a_device:
        steps.append(Step(5, f"It names no device, but patient {reading.patient_id_named}."))
        return None
    named = set()
    if reading.device_id_named is not None:
        named.add(reading.device_id_named)
        steps.append(Step(5, f"It names device {reading.device_id_named}."))
    for identifier in reading.identifiers_named:
        owned = known.owners.get(identifier)
        if owned is None:
            steps.append(Step(5, f"It names identifier {identifier}, which is nobody's: ignored."))
        else:
            named.add(owned.device_id)
            told = f"It names identifier {identifier}: device {owned.device_id}'s, by the earliest state naming it."
            steps.append(Step(5, told, _claim(owned, known.devices[owned.device_id])))
    if len(named) > 1:
        steps.append(Step(5, f"These are {len(named)} devices: {', '.join(map(str, sorted(named)))}."))
        return Reason.DEVICE_MISMATCH
    if not named:
        steps.append(Step(5, "No device is left."))
        return Reason.UNKNOWN_DEVICE
    device_id = named.pop()
    if not known.devices[device_id]:
        steps.append(Step(5, f"No state tells of device {device_id}."))
        return Reason.UNKNOWN_DEVICE
    walked.device_id = device_id
    return None


def _rule_6(walked: Walk) -> Reason | None:
    if walked.device_id is None:
        return None
    as_of_then = f"As of {said(walked.moment)}" + (", when it was taken," if walked.received_at is None else "")
    status = _device_says(walked, "currentStatus", walked.moment)
    blocked = status is not None and status.value in walked.law.blocked_statuses
    if status is None:
        walked.steps.append(Step(6, f"{as_of_then} no state said the device's status: it blocks nothing."))
    else:
        word = f"{status.value or 'none'}, which {'blocks' if blocked else 'allows'} readings"
        walked.steps.append(Step(6, f"{as_of_then} the device's status was {word}.", _by(status)))
    if blocked:
        return Reason.DEVICE_DECOMMISSIONED
    disabled = _device_says(walked, "disabledReadings", walked.moment)
    if disabled is None:
        walked.steps.append(Step(6, f"{as_of_then} no state said that readings are disabled."))
        return None
    told = f"{as_of_then} its readings were {'' if disabled.value else 'not '}disabled."
    walked.steps.append(Step(6, told, _by(disabled)))
    return Reason.READINGS_DISABLED if disabled.value else None


def _rule_7(walked: Walk) -> Reason | None:
    reading, steps, taken = walked.reading, walked.steps, walked.reading.reading_timestamp
    walked.patient_id = reading.patient_id_named
    if walked.patient_id is not None:
        steps.append(Step(7, f"It names patient {walked.patient_id}."))
    elif walked.device_id is not None:
        holder = _device_says(walked, "patientId", taken)
        walked.patient_id = None if holder is None else holder.value
        whose = "nobody's" if walked.patient_id is None else f"patient {walked.patient_id}'s"
        steps.append(Step(7, f"As of {said(taken)}, when it was taken, the device was {whose}.", _by(holder)))
    device_customer = _device_says(walked, "customerId", walked.moment)
    patient_customer = _patient_customer(walked)
    for whose, customer in (("device", device_customer), ("patient", patient_customer)):
        if customer is not None:
            steps.append(Step(7, _customer(whose, customer, walked.moment), _by(customer)))
    of_device, of_patient = value_of(device_customer), value_of(patient_customer)
    walked.customer_id = of_patient if of_device is None else of_device
    if reading.patient_id_named is not None and of_patient is not None and of_patient != walked.customer_id:
        steps.append(Step(7, "Device and named patient are of different customers."))
        return Reason.CUSTOMER_MISMATCH
    return None


def _rule_8(walked: Walk) -> None:
    if walked.patient_id is None:
        walked.steps.append(Step(8, "Without a patient there is no zone."))
        return
    taken = walked.reading.reading_timestamp
    lived = _home(walked.known.patients[walked.patient_id], taken)
    for word, decided in zip(("zip code", "country"), lived, strict=True):
        if decided is not None:
            covers = decided.effective_at > taken
            which = "the first that was said, which covers the time before" if covers else "the last said by then"
            told = f"The patient's {word} as of {said(taken)} is {which}."
            walked.steps.append(Step(8, told, _by(decided)))
    answer = walked.zones.of(*map(value_of, lived))
    walked.zone = answer.zone
    if walked.zone is None:
        walked.steps.append(Step(8, f"The patient has no zone then: {answer.reason}."))
        return
    walked.offset_s = offset_s(walked.zone, taken)
    offset = f"its offset at {said(taken)} was {walked.offset_s} s"
    walked.steps.append(Step(8, f"The zone of that is {walked.zone} ({answer.quality}); {offset}."))


def _customer(whose: str, customer: Said, at: datetime) -> str:
    first = ", the first known, which covers the time before" if customer.effective_at > at else ""
    return f"As of {said(at)} the {whose}'s customer was {customer.value or 'none'}{first}."


def _device_says(walked: Walk, name: str, at: datetime) -> Said | None:
    if walked.device_id is None:
        return None
    return as_of(history(changes(walked.known.devices[walked.device_id]), name), at)


def _patient_customer(walked: Walk) -> Said | None:
    if walked.patient_id is None:
        return None
    customers = history(changes(walked.known.patients[walked.patient_id]), "customerId")
    return customer_of_patient(customers, walked.moment)


def _home(states: Sequence[State], at: datetime) -> tuple[Said | None, Said | None]:
    told = changes(states)
    return home(history(told, "zipCode"), history(told, "country"), at)


def _by(decided: Said | None) -> By | None:
    return None if decided is None else By(decided.state.place, decided.effective_at, decided.state.recorded_at)


def _claim(owned: Owned, states: Iterable[State]) -> By | None:
    """The state that an identifier is a device's by."""
    told = next((state for state in states if state.place == owned.place), None)
    return None if told is None else By(told.place, told.effective_at, told.recorded_at)
