"""The devices and patients of the caller's customer, as they are now. What is another's is as if it were not there."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from enrich.as_of import value_of
from enrich.law import Law
from enrich.zones import Zones
from ingest.http.bodies import DeviceAndPatientNamed, DeviceNamed
from ingest.http.problems import Problem, ProblemError
from ingest.registry_lookup import Fields, PatientFound, device_as_of, patient_as_of
from schemas.reasons import Reason
from schemas.states import About, State
from sinks.asked import patients_ever_called
from sinks.database import Connection
from sinks.told import owners_of, states_of


class Device(NamedTuple):
    """A device as of now."""

    device_id: int
    fields: Mapping[str, Any]
    """By the names of our registry messages; None where nothing was said."""
    refuses: Reason | None
    """Why a reading received now is refused."""
    states: list[State]


class Patient(NamedTuple):
    """A patient as of now."""

    patient_id: int
    fields: Mapping[str, Any]
    time_zone: str | None


class Asking(NamedTuple):
    """Somebody who asks: through which connection, for which customer, as of when, by which law."""

    connection: Connection
    customer_id: int
    at: datetime
    law: Law
    zones: Zones

    async def device(self, device_id: int) -> Device:
        """The customer's device.

        :raises ProblemError: when the customer has none by that id.
        """
        states = await states_of(self.connection, About.DEVICE, device_id)
        device = device_now(device_id, states, at=self.at, law=self.law) if states else None
        if device is None or device.fields["customerId"] != self.customer_id:
            raise ProblemError(Problem.DEVICE_UNKNOWN)
        return device

    async def device_called(self, identifier: str) -> Device:
        """The customer's device that an identifier belongs to."""
        owned = await owners_of(self.connection, [identifier])
        if not owned:
            raise ProblemError(Problem.DEVICE_UNKNOWN)
        return await self.device(owned[0].device_id)

    async def device_named(self, named: DeviceNamed) -> Device:
        """The customer's device that a body names."""
        return await self.device_by(named.device_id, named.device_identifier)

    async def device_by(self, device_id: int | None, identifier: str | None) -> Device:
        """The customer's device by what is known of it; both have to mean the same."""
        by_id = None if device_id is None else await self.device(device_id)
        called = None if identifier is None else await self.device_called(identifier)
        if by_id is not None and called is not None and by_id.device_id != called.device_id:
            raise ProblemError(Problem.DEVICE_AMBIGUOUS)
        device = by_id or called
        assert device is not None, "the body's model asks for one of the two"
        return device

    async def patient(self, patient_id: int) -> Patient:
        """The customer's patient."""
        states = await states_of(self.connection, About.PATIENT, patient_id)
        found = patient_as_of(states, at=self.at, zones=self.zones) if states else None
        if found is None or value_of(found.fields["customerId"]) != self.customer_id:
            raise ProblemError(Problem.PATIENT_UNKNOWN)
        return _patient(patient_id, found)

    async def patient_called(self, external_identifier: str) -> Patient:
        """The customer's patient with that external identifier: another customer's may have the same."""
        found = []
        for patient_id in await patients_ever_called(self.connection, external_identifier):
            try:
                patient = await self.patient(patient_id)
            except ProblemError:
                continue
            if patient.fields["externalIdentifier"] == external_identifier:
                found.append(patient)
        if len(found) > 1:
            raise ProblemError(Problem.PATIENT_AMBIGUOUS)
        if not found:
            raise ProblemError(Problem.PATIENT_UNKNOWN)
        return found[0]

    async def patient_named(self, named: DeviceAndPatientNamed) -> Patient:
        """The customer's patient that a body names."""
        return await self.patient_by(named.patient_id, named.patient_external_identifier)

    async def patient_by(self, patient_id: int | None, external_identifier: str | None) -> Patient:
        """The customer's patient by what is known of them; both have to mean the same."""
        by_id = None if patient_id is None else await self.patient(patient_id)
        called = None if external_identifier is None else await self.patient_called(external_identifier)
        if by_id is not None and called is not None and by_id.patient_id != called.patient_id:
            raise ProblemError(Problem.PATIENT_AMBIGUOUS)
        patient = by_id or called
        assert patient is not None, "the body's model asks for one of the two"
        return patient


async def now(connection: Connection) -> datetime:
    """The database's clock, which every process shares: what was changed a moment ago is seen."""
    moment: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return moment.astimezone(UTC)


def device_now(device_id: int, states: list[State], *, at: datetime, law: Law) -> Device:
    """The device by its states."""
    found = device_as_of(states, [], at=at, law=law)
    return Device(device_id, _values(found.fields), found.refuses, states)


def _patient(patient_id: int, found: PatientFound) -> Patient:
    return Patient(patient_id, _values(found.fields), found.home.answer.zone)


def _values(fields: Fields) -> dict[str, Any]:
    return {name: value_of(said) for name, said in fields.items()}
