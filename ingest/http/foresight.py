"""What will become of a reading that is received now: asked of the law, with what the registry was told by now."""

from enrich.judge import judge
from enrich.rank import rank, set_aside
from enrich.registry import Registry
from ingest.http.known import Asking
from ingest.http.problems import Problem, ProblemError
from schemas.judgement import Accepted, Entry, Judgement
from schemas.reading import Reading
from schemas.record import Place, Record
from schemas.states import About
from schemas.wire import LATEST_INSTANT
from sinks.readings import standing_readings
from sinks.told import owners_of, states_of

_PLACE = Place("api", 0, 0)  # of no account: what is judged here is not stored


async def foreseen(asking: Asking, reading: Reading, value: bytes) -> Judgement:
    """The judgement of a record that is received at this moment: rules 1 to 8, and rule 9 beside what is stored by now.

    What waits in the log to be stored is not seen, nor a reading of another customer, which had the device before.

    :raises ProblemError: when the reading names a device or a patient that the customer does not have.
    """
    owned = {one.identifier: one.device_id for one in await owners_of(asking.connection, reading.identifiers_named)}
    named = set(owned.values())
    if reading.device_id_named is not None:
        named.add(reading.device_id_named)
    if reading.names_a_device and not named:
        raise ProblemError(Problem.DEVICE_UNKNOWN)
    devices = [await asking.device(device_id) for device_id in sorted(named)]
    if reading.patient_id_named is not None:
        await asking.patient(reading.patient_id_named)
    states = [state for device in devices for state in device.states]
    patients = {state.says.get("patientId") for state in states} | {reading.patient_id_named}
    states += await states_of(asking.connection, About.PATIENT, *(one for one in patients if one is not None))
    registry = Registry(asking.zones)
    registry.learn(states, owned, version=0)
    record = Record(_PLACE, asking.at, value)
    judgement = judge(record, first_seen=asking.at, registry=registry, law=asking.law).judgement
    return await _beside_what_stands(asking, judgement) if isinstance(judgement, Accepted) else judgement


def key_of(judgement: Judgement, reading: Reading) -> bytes | None:
    """The record's key: the device, else the patient, so that one device's readings stay in one partition."""
    device_id = judgement.device_id or reading.device_id_named
    patient_id = judgement.patient_id if isinstance(judgement, Accepted) else reading.patient_id_named
    subject = device_id or patient_id
    return None if subject is None else str(subject).encode()


async def _beside_what_stands(asking: Asking, accepted: Accepted) -> Judgement:
    """Rule 9, of a reading that is received after whatever stands; one whose receipt is unknown gives way to it."""
    stands = (await standing_readings(asking.connection, [accepted.key])).by_key.get(accepted.key)
    newcomer = Entry(_PLACE, LATEST_INSTANT, accepted)
    if stands is None or stands.judgement.customer_id != asking.customer_id or rank(newcomer) < rank(stands):
        return accepted
    return set_aside(newcomer, stands).judgement
