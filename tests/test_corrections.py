"""Corrections: what late news does to what is stored, a case for each rule, tie and field.

Each case is lived through twice, with corrections in one page and in pages of one line, and ends as a fresh store of
the same records and states would: the oracle is asked for every row and every column.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

import ingest.correct
import ingest.store
from enrich.law import Law
from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.batch import Batch
from ingest.correct import PAGE, correct
from ingest.law_parameters import adopt_parameters, parameters
from ingest.registry_feed import store_states
from ingest.store import store
from schemas.record import Place, Record
from schemas.states import NOBODY, About, Names, State
from schemas.wire import EARLIEST_INSTANT
from sinks.corrections import alone, queue_everything
from sinks.database import Database
from sinks.errors import CollisionError, OperatorError
from sinks.ledger import Move, Source, begin_partition, open_source
from sinks.readings import Loaded
from sinks.registry import add_states
from tests import oracle
from tests.build import LAW, NOON, SOURCE, envelope, rfc3339
from tests.histories import REGISTRY_FILES, History
from tests.knowing import learned
from tests.test_law_under_concurrency import told, unlike

ARCHIVE = "archive:zz"
NEW_YORK, PHOENIX = "19137", "85001"
EDT, MST = -4 * 3600, -7 * 3600
FILE = "archive:dd"


def hour(number: float) -> datetime:
    """So many hours after noon."""
    return NOON + timedelta(hours=number)


class Clinic:
    """A store, its registry and its corrections, in one hand. `given` holds all that it was given."""

    def __init__(self, url: str, page: int) -> None:
        self.url, self.page, self.law = url, page, LAW
        self.database = Database(url, timeout_s=30)
        self.registry = Registry(table_zones())
        self.sources: dict[str, Source] = {}
        self.positions: dict[tuple[str, int], int] = {}
        self.records: list[oracle.Record] = []
        self.told: list[oracle.RegistryRecord] = []
        self.judged_again = 0
        """How many lines corrections have gone through."""

    async def place(self, source: str, partition: int, holds: Any) -> Place:
        async with self.database.transaction() as connection:
            if source not in self.sources:
                self.sources[source] = await open_source(connection, source, first_seen=NOON, holds=holds)
            if (source, partition) not in self.positions:
                self.positions[source, partition] = 0
                await begin_partition(connection, self.sources[source], partition, 0)
        return Place(source, partition, self.positions[source, partition])

    async def give(
        self,
        *,
        received: datetime | None = NOON,
        partition: int = 0,
        source: str = SOURCE,
        value: bytes | None = None,
        null: bool = False,
        **payload: Any,
    ) -> Place:
        """One raw record, stored at once: of device 1 at noon unless said otherwise. Where it stands."""
        place = await self.place(source, partition, "readings")
        value = None if null else value or envelope(**payload)
        offset = place.offset
        batch = Batch(
            [Record(place, received, value)], [Move(self.sources[source], partition, offset, offset + 1)], self.sources
        )
        await store(batch, database=self.database, registry=self.registry, law=self.law)
        self.positions[source, partition] += 1
        self.records.append(oracle.Record(*place, received, value))
        return place

    async def give_together(self, values: Sequence[bytes]) -> None:
        """Raw records in one batch."""
        place = await self.place(SOURCE, 0, "readings")
        records = [Record(Place(SOURCE, 0, place.offset + n), NOON, value) for n, value in enumerate(values)]
        following = place.offset + len(records)
        moves = [Move(self.sources[SOURCE], 0, place.offset, following)]
        await store(Batch(records, moves, self.sources), database=self.database, registry=self.registry, law=self.law)
        self.positions[SOURCE, 0] = following
        self.records += [oracle.Record(*given.place, NOON, given.value) for given in records]

    async def tell(
        self,
        about: str,
        subject: int,
        *,
        since: datetime | None = None,
        recorded: datetime | None = None,
        from_file: bool = False,
        **says: Any,
    ) -> None:
        """One state; `since` is when it is effective, in a file "always" unless said. Recorded at noon by default."""
        message = {
            f"{about}Id": subject,
            **says,
            **({} if since is None else {"effectiveAt": rfc3339(since)}),
            **({} if recorded is None else {"recordedAt": rfc3339(recorded)}),
        }
        await self.tell_together([(about, message)], from_file=from_file)

    async def tell_together(self, messages: Sequence[tuple[str, dict[str, Any]]], *, from_file: bool = False) -> None:
        """States in one batch, all recorded at noon unless they say otherwise, or when the file was opened."""
        timestamp = REGISTRY_FILES[FILE] if from_file else NOON
        states = []
        for about, message in messages:
            source = FILE if from_file else f"kafka:registry.{about}s"
            place = await self.place(source, 0, "registry")
            self.positions[source, 0] += 1
            value = json.dumps(message).encode()
            given = oracle.RegistryRecord(about, *place, timestamp, from_file, value)
            states.append(told({place: About(about)}, Record(place, None if from_file else timestamp, value)))
            self.told.append(given)
        assert all(isinstance(state, State) for state in states), states
        async with self.database.transaction() as connection:
            await add_states(connection, states, self.sources)
            for (source, _), following in self.positions.items():
                if self.sources[source].source_id in {self.sources[state.place.source].source_id for state in states}:
                    await connection.execute(
                        "UPDATE source_positions SET next_offset = $2 WHERE source_id = $1",
                        self.sources[source].source_id,
                        following,
                    )

    async def tell_badly(self, value: bytes) -> None:
        """What the registry topic holds and is no state: set aside there, and no reading, whatever it says."""
        source = "kafka:registry.devices"
        place = await self.place(source, 0, "registry")
        given = Record(place, NOON, value)
        batch = Batch([given], [Move(self.sources[source], 0, place.offset, place.offset + 1)], self.sources)
        await store_states(batch, partial(told, {place: About.DEVICE}), database=self.database)
        self.positions[source, 0] += 1
        self.told.append(oracle.RegistryRecord("device", *place, NOON, False, value))

    async def device(self, device_id: int = 1, **says: Any) -> None:
        await self.tell("device", device_id, **says)

    async def patient(self, patient_id: int = 7, **says: Any) -> None:
        await self.tell("patient", patient_id, **says)

    async def correct(self) -> int:
        """Work off all that is pending; in how many transactions."""
        rounds = 0
        while await self.pending():
            await correct(database=self.database, registry=self.registry, law=self.law, page=self.page)
            rounds += 1
        return rounds

    async def pending(self) -> list[tuple[Any, ...]]:
        """The work that is queued: about, subject, patient, identifier, since."""
        return [
            tuple(row)
            for row in await self.database.fetch(
                "SELECT about, subject, patient_id, identifier, since FROM corrections_pending ORDER BY correction_id"
            )
        ]

    async def row(self, place: Place) -> dict[str, Any]:
        """The line of the ledger at a place; a reading's `reason` is None."""
        for table, reason in (("readings", "NULL AS reason"), ("rejections", "reason::text")):
            found = await self.database.fetch(
                f"SELECT *, {reason} FROM {table} JOIN sources USING (source_id)"
                " WHERE (source, source_partition, source_offset) = ($1, $2, $3)",
                *place,
            )
            if found:
                return dict(found[0])
        raise LookupError(place)

    async def became(self, *places: Place) -> list[str]:
        """What became of each: its reason, or `reading`."""
        return [(await self.row(place))["reason"] or "reading" for place in places]

    async def holds(self, *, law: Law = LAW, bytes_kept: bool = True) -> None:
        """What is stored is what must be, given all this.

        :param bytes_kept: what a changed law calls implausible was stored as a reading, and its bytes are gone.
        """
        assert await self.pending() == []
        given = History(tuple(self.records), tuple(self.told))
        lines = await unlike(self.url, given, law=law, seen=lambda _: NOON)
        assert not [line for line in lines if bytes_kept or not line.startswith("payload of")]


@pytest.fixture(params=[PAGE, 1], ids=["one page", "pages of one"])
async def clinic(
    migrated: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Clinic]:
    made = Clinic(migrated, request.param)
    rearrange = ingest.correct.rearrange

    async def counted(connection: Any, touched: Loaded, *others: Any) -> Any:
        made.judged_again += len(touched.entries)
        return await rearrange(connection, touched, *others)

    monkeypatch.setattr(ingest.correct, "rearrange", counted)
    yield made
    await made.database.close()


# --- rule 6: blocked devices -----------------------------------------------------------------------------------------


async def test_a_late_decommission_takes_back_what_came_after_it_and_nothing_else(clinic: Clinic) -> None:
    """From its moment on by `received_at`, the moment included; of that device only."""
    await clinic.device(1, since=hour(-9))
    await clinic.device(2, since=hour(-9))
    before = await clinic.give(taken=hour(0), received=hour(0))
    taken_after = await clinic.give(taken=hour(5), received=hour(1))
    at_that_moment = await clinic.give(taken=hour(1), received=hour(2))
    after = await clinic.give(taken=hour(-1), received=hour(3))
    another = await clinic.give(deviceId=2, received=hour(3))
    await clinic.give(taken=hour(0), received=hour(1))  # set aside before it
    await clinic.give(deviceId=2, received=hour(4))  # set aside, of the other
    await clinic.device(1, since=hour(2), currentStatus="decommissioned")
    assert await clinic.pending() == [
        ("readings_of_subject", 1, None, None, hour(2)),
        ("rejections_of_device", 1, None, None, hour(2)),
    ]
    await clinic.correct()
    assert await clinic.became(before, taken_after, another) == ["reading"] * 3
    assert await clinic.became(at_that_moment, after) == ["device_decommissioned"] * 2
    assert clinic.judged_again == 3 + 2, "taken or received by then, and those two once more among the refused"
    await clinic.holds()


async def test_a_decommission_taken_back_releases_what_it_refused(clinic: Clinic) -> None:
    """A state recorded later, equal in time, says otherwise; a null says none."""
    await clinic.device(since=hour(1), currentStatus="decommissioned", customerId=4)
    refused = await clinic.give(received=hour(2))
    assert await clinic.became(refused) == ["device_decommissioned"]
    await clinic.device(since=hour(1), currentStatus=None, recorded=hour(9))
    await clinic.correct()
    assert await clinic.became(refused) == ["reading"]
    await clinic.holds()


async def test_enabling_readings_releases_those_of_its_time(clinic: Clinic) -> None:
    await clinic.device(since=hour(0), disabledReadings=True)
    early, late = [await clinic.give(taken=hour(n), received=hour(n)) for n in (1, 3)]
    await clinic.device(since=hour(2), disabledReadings=False)
    await clinic.correct()
    assert clinic.judged_again == 1, "not what was refused before"
    assert await clinic.became(early, late) == ["readings_disabled", "reading"]
    await clinic.holds()


async def test_a_device_named_by_an_identifier_only_is_found_by_its_id(clinic: Clinic) -> None:
    """What was refused of it, too: the device that was found, not the one that was named."""
    await clinic.device(since=hour(-9), deviceIdentifiers=[{"value": "A"}])
    taken_back = await clinic.give(deviceIdentifier="A")
    await clinic.device(since=hour(-1), currentStatus="decommissioned")
    await clinic.correct()
    assert await clinic.became(taken_back) == ["device_decommissioned"]
    await clinic.device(since=hour(-1), currentStatus="withPatient", recorded=hour(1))
    await clinic.correct()
    assert await clinic.became(taken_back) == ["reading"]
    await clinic.holds()


async def test_without_a_moment_of_receipt_the_moment_of_taking_counts(clinic: Clinic) -> None:
    await clinic.device(since=hour(-99))
    early, late = [await clinic.give(taken=hour(-n), received=None, source=ARCHIVE) for n in (50, 30)]
    await clinic.device(since=hour(-40), currentStatus="decommissioned")
    await clinic.correct()
    afterwards = await clinic.give(taken=hour(-45), received=None, source=ARCHIVE)
    assert await clinic.became(early, late, afterwards) == ["reading", "device_decommissioned", "reading"]
    await clinic.device(since=hour(-40), currentStatus="lost", recorded=hour(1))
    await clinic.correct()
    assert await clinic.became(early, late) == ["reading", "reading"]
    await clinic.holds()


async def test_a_change_told_twice_counts_from_the_earliest_telling(clinic: Clinic) -> None:
    """Told again as recorded earlier, the decommission is no longer the last word of its moment."""
    await clinic.device(since=hour(0), currentStatus="decommissioned", recorded=hour(5))
    await clinic.device(since=hour(0), currentStatus="withPatient", recorded=hour(4))
    refused = await clinic.give(received=hour(1))
    assert await clinic.became(refused) == ["device_decommissioned"]
    await clinic.device(since=hour(0), currentStatus="decommissioned", recorded=hour(3))
    await clinic.correct()
    assert await clinic.became(refused) == ["reading"]
    await clinic.device(since=hour(0), currentStatus="decommissioned", recorded=hour(9))
    await clinic.correct()
    assert await clinic.became(refused) == ["reading"]
    await clinic.holds()


async def test_of_a_plain_export_a_decommission_counts_from_the_day_it_was_recorded(clinic: Clinic) -> None:
    """All else of it is true always: the reading before gets its patient, and stays."""
    await clinic.device(since=hour(1))
    before, after = [await clinic.give(taken=hour(n), received=hour(n)) for n in (0, 4)]
    await clinic.device(from_file=True, recorded=hour(3), currentStatus="decommissioned", patientId=7, customerId=4)
    assert [line[4].year for line in await clinic.pending()] == [EARLIEST_INSTANT.year] * 2
    await clinic.correct()
    assert await clinic.became(before, after) == ["reading", "device_decommissioned"]
    assert ((await clinic.row(before))["patient_id"], (await clinic.row(before))["customer_id"]) == (7, 4)
    await clinic.holds()


# --- rule 5: whose is it ---------------------------------------------------------------------------------------------


async def test_an_unknown_device_becomes_known(clinic: Clinic) -> None:
    """By its id, however early the reading came; by an identifier; by a state that says nothing else."""
    by_id = await clinic.give(deviceId=1)
    by_identifier = await clinic.give(deviceIdentifier="A", deviceId=2)
    by_identifier_only = await clinic.give(deviceIdentifier="B")
    assert await clinic.became(by_id, by_identifier, by_identifier_only) == ["unknown_device"] * 3
    await clinic.device(1, since=hour(9), note="new")
    await clinic.device(2, since=hour(9))
    await clinic.correct()
    assert await clinic.became(by_id, by_identifier, by_identifier_only) == ["reading", "reading", "unknown_device"]
    await clinic.device(3, since=hour(9), deviceIdentifiers=[{"value": "B"}])
    await clinic.correct()
    assert await clinic.became(by_identifier_only) == ["reading"]
    await clinic.holds()


async def test_an_identifier_claimed_earlier_by_another_takes_its_readings_along(clinic: Clinic) -> None:
    """The reading is deleted under one key and inserted under the other; who names both devices is in contradiction."""
    await clinic.device(1, since=hour(-2), deviceIdentifiers=[{"value": "A"}], patientId=7)
    await clinic.device(2, since=hour(-9), patientId=8)
    moved = await clinic.give(deviceIdentifier="A")
    torn = await clinic.give(deviceIdentifier="A", deviceId=1, taken=hour(1))
    healed = await clinic.give(deviceIdentifier="A", deviceId=2, taken=hour(2))
    stays = await clinic.give(deviceId=1, taken=hour(3))
    await clinic.give(deviceIdentifier="Z")  # refused, and names another
    assert await clinic.became(moved, torn, healed, stays) == ["reading", "reading", "device_mismatch", "reading"]
    await clinic.device(2, since=hour(-3), deviceIdentifiers=[{"value": "A"}])
    assert ("readings_of_subject", 1, None, "A", EARLIEST_INSTANT.replace(tzinfo=None)) in [
        (*line[:4], line[4].replace(tzinfo=None)) for line in await clinic.pending()
    ]
    await clinic.correct()
    assert await clinic.became(moved, torn, healed, stays) == ["reading", "device_mismatch", "reading", "reading"]
    assert clinic.judged_again == 2 + 2, "not what does not name it; of the refused, one as the first two left it"
    row = await clinic.row(moved)
    assert (row["subject"], row["device_id"], row["patient_id"]) == (2, 2, 8)
    await clinic.holds()


@pytest.mark.parametrize("later", ["effective", "recorded", "place"])
async def test_an_identifier_stays_with_the_earliest_that_names_it(clinic: Clinic, later: str) -> None:
    """(`effectiveAt`, `recordedAt`, place): the later claim changes nothing, in whatever comes last of these."""
    await clinic.device(1, since=hour(-2), recorded=hour(0), deviceIdentifiers=[{"value": "A"}])
    reading = await clinic.give(deviceIdentifier="A")
    await clinic.device(
        2,
        since=hour(-1) if later == "effective" else hour(-2),
        recorded=hour(1) if later == "recorded" else hour(-5) if later == "effective" else hour(0),
        deviceIdentifiers=[{"value": "A"}],
    )
    assert not [line for line in await clinic.pending() if line[3]]
    await clinic.correct()
    assert (await clinic.row(reading))["subject"] == 1
    await clinic.holds()


async def test_an_identifier_of_nobody_that_becomes_anothers_makes_a_mismatch(clinic: Clinic) -> None:
    """While it was nobody's the reading was stored by its device id; what it mentions is remembered."""
    await clinic.device(1, since=hour(-9))
    torn = await clinic.give(deviceId=1, deviceIdentifier="B")
    whole = await clinic.give(deviceId=1, deviceIdentifier="C", taken=hour(1))
    await clinic.device(3, since=hour(-9))
    await clinic.give(deviceId=3, deviceIdentifier="D")  # mentions another
    await clinic.device(2, since=hour(-9), deviceIdentifiers=[{"value": "B"}])
    asked = [("readings_of_subject", 1, None, "B"), ("rejections_of_identifier", None, None, "B")]
    assert [line[:4] for line in await clinic.pending()] == asked
    await clinic.device(1, since=hour(-9), deviceIdentifiers=[{"value": "C"}])
    await clinic.correct()
    assert await clinic.became(torn, whole) == ["device_mismatch", "reading"]
    await clinic.holds()


async def test_what_a_correction_brings_up_is_remembered_by_what_it_mentions(clinic: Clinic) -> None:
    """A reading promoted or re-keyed by a correction is found by identifiers and patients that mean nothing yet."""
    await clinic.device(1, since=hour(-9), disabledReadings=True)
    await clinic.device(1, since=hour(2), disabledReadings=False)
    await clinic.give(received=hour(3))
    promoted = await clinic.give(received=hour(4), deviceIdentifier="B", deviceId=1, patientId=9)
    released = await clinic.give(received=hour(1), deviceIdentifier="C", deviceId=1, patientId=9, taken=hour(1))
    assert await clinic.became(promoted, released) == ["duplicate", "readings_disabled"]
    await clinic.device(1, since=hour(3), disabledReadings=True)
    await clinic.device(1, since=hour(3.5), disabledReadings=False)
    await clinic.device(1, since=hour(-9), disabledReadings=False, recorded=hour(1))
    await clinic.correct()
    assert await clinic.became(promoted, released) == ["reading", "reading"]
    await clinic.patient(9, since=hour(-9), zipCode=NEW_YORK)
    await clinic.correct()
    assert {(await clinic.row(place))["patient_time_zone_offset"] for place in (promoted, released)} == {EDT}
    await clinic.device(2, since=hour(-9), deviceIdentifiers=[{"value": "B"}, {"value": "C"}])
    await clinic.correct()
    assert await clinic.became(promoted, released) == ["device_mismatch", "device_mismatch"]
    await clinic.holds()


# --- rules 7 and 8: whose patient, where, and whose customer ---------------------------------------------------------


async def test_a_device_handed_on_an_hour_earlier_moves_readings_to_the_other_patient(clinic: Clinic) -> None:
    """Patient, zone and offset, by the moment of taking; what names its patient stays with that one."""
    await clinic.patient(7, since=hour(-9), zipCode=NEW_YORK)
    await clinic.patient(8, since=hour(-9), zipCode=PHOENIX)
    await clinic.device(since=hour(-9), patientId=7)
    await clinic.device(since=hour(3), patientId=8)
    at_one, at_two, at_three = [await clinic.give(taken=hour(n), received=hour(4)) for n in (1, 2, 3)]
    named = await clinic.give(taken=hour(2.5), received=hour(4), patientId=7, deviceId=1)
    await clinic.device(since=hour(2), patientId=8)
    await clinic.correct()
    rows = [await clinic.row(place) for place in (at_one, at_two, at_three, named)]
    assert [(row["patient_id"], row["patient_time_zone_offset"]) for row in rows] == [
        (7, EDT),
        (8, MST),
        (8, MST),
        (7, EDT),
    ]
    await clinic.holds()


async def test_a_device_handed_on_takes_its_duplicates_along(clinic: Clinic) -> None:
    """Whose a reading is that rule 9 set aside is told by the registry too."""
    await clinic.device(since=hour(-9), patientId=7, customerId=3)
    winner, other = [await clinic.give(received=hour(n)) for n in (1, 2)]
    await clinic.device(since=hour(-1), patientId=8, customerId=4)
    await clinic.correct()
    for place in (winner, other):
        row = await clinic.row(place)
        assert (row["patient_id"], row["customer_id"]) == (8, 4)
    await clinic.holds()


async def test_a_duplicate_is_another_patients_though_nothing_of_the_winner_changes(clinic: Clinic) -> None:
    """The winner names its patient; who the duplicate belongs to, and whose customer that is, the device tells."""
    await clinic.device(since=hour(-9), patientId=7)
    await clinic.give(received=hour(1), deviceId=1, patientId=9)
    duplicate = await clinic.give(received=hour(2))
    await clinic.device(since=hour(-1), patientId=8)
    await clinic.correct()
    assert (await clinic.row(duplicate))["patient_id"] == 8
    await clinic.patient(8, since=hour(-1), customerId=4)
    await clinic.correct()
    assert (await clinic.row(duplicate))["customer_id"] == 4
    await clinic.holds()


async def test_a_patients_first_zip_covers_the_time_before_it(clinic: Clinic) -> None:
    """Until an earlier one is told: then that covers, and the other holds from its own moment on."""
    await clinic.device(since=hour(-9), patientId=7)
    at_noon, at_six = [await clinic.give(taken=hour(n), received=hour(7)) for n in (0, 6)]
    await clinic.patient(since=hour(5), zipCode=NEW_YORK)
    await clinic.correct()
    assert [(await clinic.row(place))["patient_time_zone_offset"] for place in (at_noon, at_six)] == [EDT, EDT]
    await clinic.patient(since=hour(2), zipCode=PHOENIX)
    await clinic.correct()
    assert [(await clinic.row(place))["patient_time_zone_offset"] for place in (at_noon, at_six)] == [MST, EDT]
    await clinic.holds()


async def test_a_zip_said_to_be_none_is_the_first_too(clinic: Clinic) -> None:
    """The next one covers no time before it, and touches nothing there."""
    await clinic.patient(since=hour(-9), zipCode=None)
    reading = await clinic.give(patientId=7)
    await clinic.patient(since=hour(5), zipCode=NEW_YORK)
    assert [line[4] for line in await clinic.pending()] == [hour(5)] * 2
    await clinic.correct()
    assert (await clinic.row(reading))["patient_time_zone"] is None
    await clinic.holds()


async def test_a_country_that_the_first_zip_counts_with_covers_the_time_before_too(clinic: Clinic) -> None:
    await clinic.device(since=hour(-9), patientId=7)
    reading = await clinic.give()
    await clinic.patient(since=hour(5), zipCode="10115")
    await clinic.correct()
    assert (await clinic.row(reading))["patient_time_zone"] == "America/New_York"
    await clinic.patient(since=hour(4), country="DEU")
    await clinic.correct()
    assert (await clinic.row(reading))["patient_time_zone"] is None
    await clinic.holds()


@pytest.mark.parametrize(
    ("says", "offset"),
    [
        ({"zipCode": PHOENIX}, MST),
        ({"zipCode": ""}, None),
        ({"zipCode": "  "}, None),
        ({"zipCode": None}, None),
        ({"country": "DEU"}, None),
        ({"country": "USA"}, EDT),
        ({"customerId": 5}, EDT),
        ({"customerId": None}, EDT),
        ({"externalIdentifier": "mrn"}, EDT),
    ],
    ids=str,
)
async def test_a_patient_who_moves_has_another_clock_from_then_on(
    clinic: Clinic, says: dict[str, Any], offset: int | None
) -> None:
    """By the device's history and by being named, with a device or without."""
    await clinic.patient(since=hour(-9), zipCode=NEW_YORK, customerId=4)
    await clinic.device(1, since=hour(-9), patientId=7)
    await clinic.device(2, since=hour(-9), patientId=8)
    naming: list[dict[str, Any]] = [{"deviceId": 1}, {"deviceId": 2, "patientId": 7}, {"patientId": 7}]
    before = [await clinic.give(taken=hour(0), received=hour(5), **who) for who in naming]
    after = [await clinic.give(taken=hour(2), received=hour(5), **who) for who in naming]
    for _ in range(2):
        await clinic.give(taken=hour(3), received=hour(5), deviceId=2)  # of patient 8, and set aside of patient 8
    await clinic.patient(since=hour(2), **says)
    queued = [("readings_of_subject", subject, 7, None, hour(2)) for subject in (-7, 1, 2)]
    queued.append(("rejections_of_patient", None, 7, None, hour(2)))
    pending = await clinic.pending()
    assert [*sorted(pending[:3]), *pending[3:]] == ([] if "externalIdentifier" in says else queued)
    await clinic.correct()
    assert [(await clinic.row(place))["patient_time_zone_offset"] for place in before] == [EDT] * 3
    assert [(await clinic.row(place))["patient_time_zone_offset"] for place in after] == [offset] * 3
    assert clinic.judged_again == (0 if "externalIdentifier" in says else 6), "of this patient, received after it"
    await clinic.holds()


async def test_a_patient_that_a_device_once_had_is_found_by_its_history(clinic: Clinic) -> None:
    """Named when it was the device's own, and no longer so when the patient's news come."""
    await clinic.device(since=hour(-9), patientId=7)
    named = await clinic.give(deviceId=1, patientId=7)
    await clinic.device(since=hour(-9), patientId=8, recorded=hour(1))
    await clinic.correct()
    await clinic.patient(since=hour(-9), zipCode=PHOENIX)
    await clinic.correct()
    assert (await clinic.row(named))["patient_time_zone_offset"] == MST
    await clinic.holds()


async def test_a_patient_named_before_the_device_was_anothers_is_found_as_mentioned(clinic: Clinic) -> None:
    """The device has another patient at the moment of taking, or none, or has itself no past yet."""
    await clinic.device(1, since=hour(-9), patientId=8)
    await clinic.device(2, since=hour(5), patientId=8)
    named = [await clinic.give(deviceId=device, patientId=7) for device in (1, 2)]
    await clinic.device(3, since=hour(-9), patientId=8)
    await clinic.give(deviceId=3, patientId=9)  # mentions another
    await clinic.patient(7, since=hour(-9), zipCode=PHOENIX, customerId=4)
    assert sorted(line[1] for line in await clinic.pending() if line[0] == "readings_of_subject") == [1, 2]
    await clinic.correct()
    for place in named:
        row = await clinic.row(place)
        assert (row["patient_time_zone_offset"], row["customer_id"]) == (MST, 4)
    await clinic.holds()


async def test_customers_that_part_and_meet_again(clinic: Clinic) -> None:
    """A device and a *named* patient of different known customers; as of receipt, a null is unknown."""
    await clinic.device(since=hour(-9), customerId=1, patientId=7)
    named = await clinic.give(deviceId=1, patientId=7, received=hour(2))
    not_named = await clinic.give(deviceId=1, taken=hour(1), received=hour(2))
    await clinic.patient(since=hour(9), customerId=2)
    await clinic.correct()
    assert await clinic.became(named, not_named) == ["customer_mismatch", "reading"]
    row = await clinic.row(named)
    assert (row["device_id"], row["patient_id"], row["customer_id"]) == (1, 7, 1)
    await clinic.device(since=hour(1), customerId=2)
    await clinic.correct()
    assert await clinic.became(named, not_named) == ["reading", "reading"]
    assert (await clinic.row(named))["customer_id"] == 2
    await clinic.patient(since=hour(2), customerId=1)
    await clinic.correct()
    assert await clinic.became(named) == ["customer_mismatch"]
    await clinic.patient(since=hour(2), customerId=None, recorded=hour(1))
    await clinic.correct()
    assert await clinic.became(named) == ["reading"]
    await clinic.holds()


async def test_a_customer_unknown_at_first_is_covered_by_the_first_that_is_known(clinic: Clinic) -> None:
    """A null said earlier is no customer: it covers nothing."""
    await clinic.device(since=hour(-9), customerId=1)
    await clinic.patient(since=hour(-9), customerId=None)
    reading = await clinic.give(deviceId=1, patientId=7)
    await clinic.patient(since=hour(9), customerId=2)
    await clinic.correct()
    assert await clinic.became(reading) == ["customer_mismatch"]
    await clinic.patient(since=hour(2), customerId=None)
    assert {line[4] for line in await clinic.pending()} == {hour(2)}, "nor is anything before it judged again"
    await clinic.correct()
    assert await clinic.became(reading) == ["customer_mismatch"]
    await clinic.holds()


async def test_a_customer_mismatch_ends_by_the_patients_own_news(clinic: Clinic) -> None:
    """What was refused of a patient is found by the patient: a first customer covers all the time before."""
    await clinic.device(since=hour(-9), customerId=1)
    await clinic.patient(since=hour(5), customerId=2)
    refused = await clinic.give(deviceId=1, patientId=7)
    assert await clinic.became(refused) == ["customer_mismatch"]
    await clinic.patient(since=hour(4), customerId=1)
    await clinic.correct()
    assert await clinic.became(refused) == ["reading"]
    await clinic.holds()


async def test_the_patients_customer_is_the_readings_where_the_device_has_none(clinic: Clinic) -> None:
    """For readings of a patient alone, and for what rule 9 set aside of them."""
    await clinic.device(since=hour(-9), patientId=7)
    of_device = await clinic.give()
    alone_, set_aside = [await clinic.give(patientId=7, received=hour(n)) for n in (1, 2)]
    await clinic.patient(since=hour(9), customerId=2)
    await clinic.correct()
    assert [(await clinic.row(place))["customer_id"] for place in (of_device, alone_, set_aside)] == [2, 2, 2]
    await clinic.device(since=hour(-9), customerId=3)
    await clinic.correct()
    assert [(await clinic.row(place))["customer_id"] for place in (of_device, alone_, set_aside)] == [3, 2, 2]
    await clinic.holds()


# --- rule 9: who is the reading --------------------------------------------------------------------------------------


async def test_a_winner_taken_back_promotes_the_next_and_relabels_the_others(clinic: Clinic) -> None:
    """And when it comes back all is as it was."""
    await clinic.device(since=hour(-9))
    rates = (60, 61, 61, 60)
    ranked = [await clinic.give(heartRate=rate, received=hour(n)) for n, rate in enumerate(rates, start=1)]
    assert await clinic.became(*ranked) == ["reading", "conflicting_duplicate", "conflicting_duplicate", "duplicate"]
    await clinic.device(since=hour(1), disabledReadings=True)
    await clinic.device(since=hour(2), disabledReadings=False)
    await clinic.correct()
    assert await clinic.became(*ranked) == ["readings_disabled", "reading", "duplicate", "conflicting_duplicate"]
    await clinic.device(since=hour(1), disabledReadings=False, recorded=hour(1))
    await clinic.correct()
    assert await clinic.became(*ranked) == ["reading", "conflicting_duplicate", "conflicting_duplicate", "duplicate"]
    await clinic.holds()


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"received": hour(1)}, {"received": hour(2)}),
        ({"received": hour(1), "source": "kafka:z"}, {"received": None, "source": ARCHIVE}),
        ({"received": hour(1), "source": ARCHIVE, "partition": 1}, {"received": hour(1), "source": "kafka:a"}),
        ({"received": hour(1), "source": "kafka:Z"}, {"received": hour(1), "source": "kafka:a"}),
        ({"received": hour(1), "partition": 2}, {"received": hour(1), "partition": 10}),
        ({"received": hour(1), "partition": 3}, {"received": hour(1), "partition": 3}),
    ],
    ids=["received", "unknown last", "source", "source by code point", "partition", "offset"],
)
async def test_a_release_displaces_whoever_came_after_it(
    clinic: Clinic, first: dict[str, Any], then: dict[str, Any]
) -> None:
    """First in (`received_at`, unknown last; source, partition, offset), whatever order they came up in.

    Live, the one displaces the other too; with all of them refused and released again the first stands in the end.
    """
    await clinic.device(since=hour(-99))
    if first.get("source") != then.get("source"):  # greater in what counts for less
        await clinic.give(**first | {"partition": 1}, taken=hour(-1))
        await clinic.give(**first, taken=hour(-2))
    places = [await clinic.give(**first, heartRate=60), await clinic.give(**then, heartRate=61)]
    assert await clinic.became(*places) == ["reading", "conflicting_duplicate"]
    for disabled, recorded in ((True, 1), (False, 2)):
        await clinic.device(since=hour(-99), disabledReadings=disabled, recorded=hour(recorded))
        await clinic.correct()
        expected = ["readings_disabled"] * 2 if disabled else ["reading", "conflicting_duplicate"]
        assert await clinic.became(*places) == expected
    await clinic.holds()


async def test_an_earlier_received_newcomer_makes_the_reading_give_way(clinic: Clinic) -> None:
    """Live: what it displaces is set aside beside it, and the reasons of those set aside before follow it."""
    await clinic.device(since=hour(-9))
    was = await clinic.give(received=hour(5), heartRate=60)
    alike = await clinic.give(received=hour(6), heartRate=60)
    unlike_it = await clinic.give(received=hour(7), heartRate=61)
    newcomer = await clinic.give(received=hour(1), heartRate=61, partition=1)
    assert await clinic.became(newcomer, was, alike, unlike_it) == [
        "reading",
        "conflicting_duplicate",
        "conflicting_duplicate",
        "duplicate",
    ]
    await clinic.holds()


async def test_of_newcomers_in_one_batch_it_is_the_first_whom_reasons_follow(clinic: Clinic) -> None:
    await clinic.device(since=hour(-9))
    was, alike = [await clinic.give(received=hour(n), heartRate=60) for n in (5, 6)]
    await clinic.give_together([envelope(heartRate=61), envelope(heartRate=60)])
    assert await clinic.became(was, alike) == ["conflicting_duplicate"] * 2
    await clinic.holds()


@pytest.mark.parametrize(
    "otherwise",
    [{"heartRate": 61}, {"heartRate": None}, {"manual": True}, {"deviceTimeZoneOffset": 0}],
    ids=str,
)
async def test_what_makes_a_duplicate_conflicting(clinic: Clinic, otherwise: dict[str, Any]) -> None:
    """A measure, `manual` or the device's offset; not its id, nor how it names the device, nor the registry."""
    await clinic.device(since=hour(-9), deviceIdentifiers=[{"value": "A"}])
    await clinic.give(received=hour(1), heartRate=60, deviceId=1)
    alike = await clinic.give(received=hour(2), heartRate=60, deviceIdentifier="A", id=5, manual=False)
    other = await clinic.give(**{"received": hour(3), "heartRate": 60, "deviceId": 1} | otherwise)
    await clinic.device(since=hour(1), currentStatus="decommissioned")
    await clinic.device(since=hour(1.5), currentStatus="lost")
    await clinic.correct()
    assert await clinic.became(alike, other) == ["reading", "conflicting_duplicate"]
    await clinic.holds()


async def test_a_reading_that_changes_its_key_competes_where_it_comes_to(clinic: Clinic) -> None:
    """And leaves its place to the next where it was: on both sides in one correction."""
    await clinic.device(1, since=hour(-2), deviceIdentifiers=[{"value": "A"}])
    await clinic.device(2, since=hour(-9))
    moving = await clinic.give(deviceIdentifier="A", received=hour(1), heartRate=60)
    left_behind = await clinic.give(deviceId=1, received=hour(2), heartRate=61)
    also_left = await clinic.give(deviceId=1, received=hour(3), heartRate=61)
    there_first = await clinic.give(deviceId=2, received=hour(0), heartRate=60)
    also_there = await clinic.give(deviceId=2, received=hour(2), heartRate=61)
    await clinic.device(2, since=hour(-3), deviceIdentifiers=[{"value": "A"}])
    await clinic.correct()
    assert await clinic.became(moving, left_behind, also_left, there_first, also_there) == [
        "duplicate",
        "reading",
        "duplicate",
        "reading",
        "conflicting_duplicate",
    ]
    assert (await clinic.row(moving))["device_id"] == 2
    await clinic.holds()


async def test_a_rival_that_other_news_have_moved_competes_where_it_comes_to(clinic: Clinic) -> None:
    """Met under the key of one correction, it belongs elsewhere by another that still waits: there it is ranked too."""
    await clinic.device(1, since=hour(-2), deviceIdentifiers=[{"value": "A"}])
    await clinic.device(2, since=hour(-9))
    taken_back = await clinic.give(deviceId=1, received=hour(1))
    moving = await clinic.give(deviceIdentifier="A", received=hour(2))
    there = await clinic.give(deviceId=2, received=hour(3), heartRate=61)
    also_there = await clinic.give(deviceId=2, received=hour(4))
    await clinic.device(1, since=hour(-9), disabledReadings=True)
    await clinic.device(2, since=hour(-3), deviceIdentifiers=[{"value": "A"}])
    async with asyncio.timeout(20):
        await clinic.correct()
    assert await clinic.became(taken_back, moving, there, also_there) == [
        "readings_disabled",
        "reading",
        "conflicting_duplicate",
        "duplicate",
    ]
    await clinic.holds()


async def test_a_duplicate_that_changes_its_key_becomes_a_reading_there(clinic: Clinic) -> None:
    """Though nothing of the winner that it gave way to has changed."""
    await clinic.device(1, since=hour(-2), deviceIdentifiers=[{"value": "A"}])
    await clinic.device(2, since=hour(-9))
    winner = await clinic.give(deviceId=1, received=hour(1))
    moving = await clinic.give(deviceIdentifier="A", received=hour(2))
    assert await clinic.became(winner, moving) == ["reading", "duplicate"]
    await clinic.device(2, since=hour(-3), deviceIdentifiers=[{"value": "A"}])
    await clinic.correct()
    assert await clinic.became(winner, moving) == ["reading", "reading"]
    await clinic.holds()


async def test_every_kind_is_reached_in_the_order_of_keys(clinic: Clinic) -> None:
    """The first and the last kind, many moments, page by page."""
    await clinic.device(since=hour(-9))
    places = [
        await clinic.give(kind=kind, taken=hour(n), received=hour(3), **measures)
        for n in (2, 0, 1)
        for kind, measures in (
            ("sleepMatDuration", dict.fromkeys(("deepSleep", "lightSleep", "rem", "bodyTurnOver"), 1) | SLEEP),
            ("weight", {"weight": 180.5}),
            ("heartRate", {}),
            ("temperature", {"temperature": 37, "temperatureUnit": "c"}),
        )
    ]
    await clinic.device(since=hour(1), currentStatus="decommissioned")
    await clinic.correct()
    assert await clinic.became(*places) == ["device_decommissioned"] * 12
    await clinic.device(since=hour(1), currentStatus="lost", recorded=hour(1))
    await clinic.correct()
    assert await clinic.became(*places) == ["reading"] * 12
    await clinic.holds()


SLEEP = {"duration": "PT8H", "heartRate": 55, "respiration": 12}


# --- what waits while the registry has gone on -----------------------------------------------------------------------


@pytest.mark.parametrize("news", ["device", "patient", "identifier"])
async def test_a_reading_that_gives_way_while_its_correction_waits_is_judged_again_too(
    clinic: Clinic, news: str
) -> None:
    """When the news came nothing of the device, patient or identifier had been refused; then the reading was set aside."""
    await clinic.device(1, since=hour(-9), deviceIdentifiers=[{"value": "A"}])
    await clinic.device(2, since=hour(-9), patientId=8)
    gives_way = await clinic.give(received=hour(5), deviceIdentifier="A", patientId=7)
    match news:
        case "device":
            await clinic.device(1, since=hour(4), currentStatus="decommissioned")
        case "patient":
            await clinic.patient(7, since=hour(-9), customerId=3)
        case "identifier":
            await clinic.device(2, since=hour(-10), deviceIdentifiers=[{"value": "A"}])
    newcomer = await clinic.give(received=hour(1), partition=1, deviceId=1)
    assert await clinic.became(newcomer, gives_way) == ["reading", "duplicate"]
    await clinic.correct()
    became = {"device": "device_decommissioned", "patient": "duplicate", "identifier": "reading"}[news]
    assert await clinic.became(newcomer, gives_way) == ["reading", became]
    await clinic.holds()


@pytest.mark.parametrize(
    "news", ["device", "device of an identifier", "new device", "patient", "named patient", "identifier", "owner"]
)
@pytest.mark.parametrize("asked_before", [False, True])
async def test_a_batch_judged_before_the_news_is_judged_again_under_the_lock(
    migrated: str, news: str, asked_before: bool
) -> None:
    """Whatever they touch: the device found or named, the patient had or named, an identifier. Nothing is left over."""
    clinic = Clinic(migrated, PAGE)
    await clinic.device(1, since=hour(-9), patientId=7)
    await clinic.device(2, since=hour(-9), deviceIdentifiers=[{"value": "A"}])
    # What it was told nobody knows of, it keeps as well: that has to be unlearnt.
    nobody_yet = Names(frozenset({"B"}), frozenset({5, 6}), frozenset({8})) if asked_before else NOBODY
    stale = await learned(clinic.database, also=nobody_yet)
    match news:
        case "device":
            await clinic.device(1, since=hour(-1), currentStatus="decommissioned")
        case "device of an identifier":
            await clinic.device(2, since=hour(-1), disabledReadings=True)
        case "new device":
            await clinic.device(5, since=hour(-1))
        case "patient":
            await clinic.patient(7, since=hour(-1), zipCode=NEW_YORK)
        case "named patient":
            await clinic.patient(8, since=hour(-1), zipCode=NEW_YORK)
        case "identifier":
            await clinic.device(6, since=hour(-1), deviceIdentifiers=[{"value": "B"}])
        case "owner":
            await clinic.device(1, since=hour(-10), deviceIdentifiers=[{"value": "A"}])
    knew, clinic.registry = stale.version, stale
    batch = [
        {"deviceId": 1},
        {"deviceId": 5},
        {"deviceId": 2, "patientId": 8},
        {"patientId": 8},
        {"deviceIdentifier": "B"},
        {"deviceIdentifier": "B", "deviceId": 2, "taken": hour(2)},
        {"deviceIdentifier": "A", "taken": hour(3)},
        {"taken": datetime(1999, 1, 1, tzinfo=UTC)},
    ]
    await clinic.give_together([envelope(**who) for who in batch] + [b"junk"])
    assert clinic.registry.version > knew
    await clinic.holds()
    await clinic.database.close()


@pytest.mark.parametrize("news", ["device", "identifier"])
async def test_what_a_replicas_corrections_learn_while_a_batch_is_begun_does_not_make_it_fresh(
    migrated: str, monkeypatch: pytest.MonkeyPatch, news: str
) -> None:
    """One registry serves both: the batch was judged before, by what was known then."""
    clinic = Clinic(migrated, PAGE)
    await clinic.device(1, since=hour(-9), deviceIdentifiers=[{"value": "A"}])
    await clinic.device(2, since=hour(-9))
    await clinic.give(taken=hour(-1))
    if news == "device":
        await clinic.device(1, since=hour(-1), currentStatus="decommissioned")
    else:
        await clinic.device(2, since=hour(-10), deviceIdentifiers=[{"value": "A"}])
    move = ingest.store.move
    corrections = Database(migrated, timeout_s=30)

    async def meanwhile(*arguments: Any) -> None:
        await correct(database=corrections, registry=clinic.registry, law=LAW)
        await move(*arguments)

    monkeypatch.setattr(ingest.store, "move", meanwhile)
    became = await clinic.became(await clinic.give(deviceIdentifier="A", deviceId=1))
    assert became == ["device_decommissioned" if news == "device" else "device_mismatch"]
    await clinic.correct()
    await clinic.holds()
    await corrections.close()
    await clinic.database.close()


async def test_a_replica_that_knows_of_nothing_judges_by_all_that_was_told(clinic: Clinic) -> None:
    """The first batch of a process, and its first correction, learn of whomever they concern."""
    await clinic.device(since=hour(-9), patientId=7)
    await clinic.give()
    await clinic.patient(since=hour(-9), zipCode=NEW_YORK)
    clinic.registry = Registry(table_zones())
    await clinic.correct()
    clinic.registry = Registry(table_zones())
    await clinic.give(taken=hour(1))
    await clinic.holds()


# --- what is queued --------------------------------------------------------------------------------------------------


async def test_states_that_say_nothing_relevant_queue_only_what_may_be_unknown(clinic: Clinic) -> None:
    """A note, a site: they change no reading. But they make a device known, if it was not."""
    await clinic.device(1, since=hour(-9))
    for _ in range(2):
        await clinic.give()  # a reading, and one set aside
    unknown = await clinic.give(deviceId=2)
    says = {"note": "x", "siteId": 3, "platformSite": True, "deviceIdentifiers": []}
    for device in (1, 2):
        await clinic.device(device, since=hour(-8), **says)
    await clinic.patient(since=hour(-8), externalIdentifier="mrn")
    assert [line[:2] for line in await clinic.pending()] == [("rejections_of_device", 2)]
    await clinic.correct()
    assert await clinic.became(unknown) == ["reading"]
    await clinic.holds()


async def test_work_is_queued_only_for_what_has_rows(clinic: Clinic) -> None:
    """A registry loaded before the first reading, or about others, asks for nothing."""
    await clinic.device(1, since=hour(-9), currentStatus="withPatient", patientId=7, deviceIdentifiers=[{"value": "A"}])
    await clinic.patient(7, since=hour(-9), zipCode=NEW_YORK)
    await clinic.give()
    await clinic.give(deviceIdentifier="Z")  # refused
    await clinic.device(2, since=hour(-9), currentStatus="lost", patientId=8, deviceIdentifiers=[{"value": "B"}])
    await clinic.patient(8, since=hour(-9), zipCode=NEW_YORK, customerId=3)
    await clinic.device(3, since=hour(-10), deviceIdentifiers=[{"value": "B"}])
    assert await clinic.pending() == []
    await clinic.holds()


async def test_several_states_of_one_device_are_one_piece_of_work(clinic: Clinic) -> None:
    """In one batch of the feed: from the earliest moment that any of them touches."""
    await clinic.device(since=hour(-9))
    await clinic.patient(7, since=hour(-9), zipCode=NEW_YORK)
    places = [await clinic.give(taken=hour(n), received=hour(n)) for n in range(4)]
    of_patient = [await clinic.give(taken=hour(n), received=hour(n), patientId=7) for n in range(4)]
    await clinic.tell_together(
        [
            ("device", {"deviceId": 1, "currentStatus": "lost", "effectiveAt": rfc3339(hour(3))}),
            ("device", {"deviceId": 1, "currentStatus": "decommissioned", "effectiveAt": rfc3339(hour(1))}),
            ("device", {"deviceId": 1, "note": "x", "effectiveAt": rfc3339(hour(-3))}),
            ("patient", {"patientId": 7, "country": "USA", "effectiveAt": rfc3339(hour(1))}),
            ("patient", {"patientId": 7, "zipCode": PHOENIX, "effectiveAt": rfc3339(hour(3))}),
        ]
    )
    assert await clinic.pending() == [
        ("readings_of_subject", 1, None, None, hour(1)),
        ("rejections_of_device", 1, None, None, hour(1)),
        ("readings_of_subject", -7, 7, None, hour(1)),
        ("rejections_of_patient", None, 7, None, hour(1)),
    ]
    await clinic.correct()
    assert await clinic.became(*places) == ["reading", "device_decommissioned", "device_decommissioned", "reading"]
    assert [(await clinic.row(place))["patient_time_zone_offset"] for place in of_patient] == [EDT, EDT, EDT, MST]
    await clinic.holds()


# --- the law itself changes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        Law(blocked_statuses=frozenset({"lost"})),
        Law(future_limit=timedelta(hours=1)),
        Law(future_limit=timedelta(hours=48)),
        Law(earliest=NOON - timedelta(hours=2)),
        Law(earliest=datetime(1990, 1, 1, tzinfo=UTC)),
        Law(max_bytes=10_000),
        Law(max_depth=3),
    ],
    ids=["blocked statuses", "less future", "more future", "later earliest", "earlier earliest", "size", "depth"],
)
async def test_a_changed_law_judges_everything_again(clinic: Clinic, changed: Law) -> None:
    """What was stored, what was set aside, and what is in no state of the registry at all."""
    await clinic.device(1, since=hour(-9), currentStatus="decommissioned")
    await clinic.device(2, since=hour(-9), currentStatus="lost")
    await clinic.device(3, since=hour(-9), customerId=1)
    await clinic.patient(7, since=hour(-9), customerId=2)
    for who in (
        {"deviceId": 1},
        {"deviceId": 2},
        {"deviceId": 3, "patientId": 7},
        {"deviceId": 3},
        {"deviceId": 3, "heartRate": 61},
        {"deviceId": 9},
        {"patientId": 7},
        {"deviceId": 3, "taken": hour(2)},
        {"deviceId": 3, "taken": hour(30)},
        {"deviceId": 3, "taken": hour(99)},
        {"deviceId": 3, "taken": hour(-3)},
        {"patientId": 7, "taken": hour(-3)},
        {"deviceId": 3, "taken": datetime(1999, 1, 1, tzinfo=UTC)},
        {"deviceId": 3, "taken": datetime(1980, 1, 1, tzinfo=UTC), "source": ARCHIVE, "received": None},
        {"deviceId": 3, "heartRate": "60"},
        {"kind": "ecg"},
        {"value": b"junk"},
        {"value": b""},
        {"null": True},
    ):
        await clinic.give(**who)
    await clinic.tell_badly(b"junk")
    await clinic.tell_badly(envelope(deviceId=3, taken=hour(5)))
    await clinic.holds()
    for law in (changed, LAW):
        names = await adopt_parameters(clinic.database, parameters(law, table_zones()))
        assert len(names) == 1
        assert [line[0] for line in await clinic.pending()] == ["all_readings", "all_rejections"]
        with pytest.raises(OperatorError, match="the law parameters were changed while this process ran"):
            await clinic.give()
        clinic.law, clinic.registry = law, Registry(table_zones())  # started again
        await clinic.correct()
        await clinic.holds(law=law, bytes_kept=False)
    assert await adopt_parameters(clinic.database, parameters(LAW, table_zones())) == []
    assert await clinic.pending() == []


async def test_a_law_adopted_by_an_empty_database_queues_nothing(clinic: Clinic) -> None:
    await clinic.database.fetch("DELETE FROM law_parameters RETURNING name")
    await adopt_parameters(clinic.database, parameters(LAW, table_zones()))
    assert await clinic.pending() == []


# --- pages, kills, and others at work --------------------------------------------------------------------------------


class KilledError(Exception):
    """The process dies here."""


async def twenty(clinic: Clinic) -> list[Place]:
    await clinic.device(since=hour(-9))
    return [await clinic.give(taken=hour(n / 10), received=hour(3), heartRate=60 + n) for n in range(20)]


async def test_a_kill_in_the_middle_changes_nothing_in_the_end(migrated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is all or nothing; another replica goes on where the dead one was."""
    clinic = Clinic(migrated, 3)
    places = await twenty(clinic)
    await clinic.device(since=hour(2), currentStatus="decommissioned")
    done = 0
    for step in ("remove_readings", "note_mentions", "finish", "go_on_from"):
        await correct(database=clinic.database, registry=clinic.registry, law=LAW, page=3)
        done += 3
        assert Counter(await clinic.became(*places)) == {"device_decommissioned": done, "reading": 20 - done}
        before = await clinic.pending()

        async def killed(*_: Any) -> None:
            raise KilledError

        with monkeypatch.context() as patched:
            patched.setattr(ingest.correct, step, killed)
            if step != "finish":
                with pytest.raises(KilledError):
                    await correct(database=clinic.database, registry=clinic.registry, law=LAW, page=3)
                assert Counter(await clinic.became(*places)) == {"device_decommissioned": done, "reading": 20 - done}
                assert await clinic.pending() == before
    clinic.registry = Registry(table_zones())
    await clinic.correct()
    assert await clinic.became(*places) == ["device_decommissioned"] * 20
    await clinic.holds()
    await clinic.database.close()


async def test_a_page_is_as_long_as_asked_and_a_round_no_longer(migrated: str) -> None:
    """Bounded transactions: several pieces of work share one page, one piece takes several."""
    clinic = Clinic(migrated, 8)
    await twenty(clinic)
    await clinic.device(2, since=hour(-9))
    await clinic.give(deviceId=2)
    for device in (1, 2):
        await clinic.device(device, since=hour(-9), disabledReadings=True)
    began = [await correct(database=clinic.database, registry=clinic.registry, law=LAW, page=8) for _ in range(3)]
    assert [len(await clinic.pending()), *began] == [4 - 1, 1, 1, 2]
    await clinic.correct()
    await clinic.holds()
    await clinic.database.close()


async def test_pages_of_what_was_refused_go_from_source_to_source(clinic: Clinic) -> None:
    """By the whole place: the next source begins again with the first partition and offset."""
    sources = (SOURCE, SOURCE, ARCHIVE)
    await clinic.device(1, since=hour(-9), customerId=1)
    await clinic.patient(7, since=hour(-9), customerId=2)
    of_device = [await clinic.give(deviceId=2, source=source, taken=hour(n)) for n, source in enumerate(sources)]
    of_patient = [
        await clinic.give(deviceId=1, patientId=7, source=source, taken=hour(n)) for n, source in enumerate(sources)
    ]
    naming = [await clinic.give(deviceIdentifier="A", source=source, taken=hour(n)) for n, source in enumerate(sources)]
    assert await clinic.became(*of_device, *naming) == ["unknown_device"] * 6
    assert await clinic.became(*of_patient) == ["customer_mismatch"] * 3
    await clinic.device(2, since=hour(-9))
    await clinic.patient(7, since=hour(-9), customerId=1, recorded=hour(1))
    await clinic.device(3, since=hour(-9), deviceIdentifiers=[{"value": "A"}])
    await clinic.correct()
    assert await clinic.became(*of_device, *of_patient, *naming) == ["reading"] * 9
    await clinic.holds()


async def test_one_replica_corrects_at_a_time(clinic: Clinic) -> None:
    """Another leaves it to the one that is at work, and says that it began nothing."""
    await clinic.device(since=hour(-9))
    await clinic.give()
    await clinic.device(since=hour(-8), disabledReadings=True)
    other = Database(clinic.url, timeout_s=30)
    async with other.transaction() as connection:
        assert await alone(connection)
        assert await correct(database=clinic.database, registry=clinic.registry, law=LAW) == 0
        assert len(await clinic.pending()) == 2
    await other.close()
    await clinic.correct()
    assert await correct(database=clinic.database, registry=clinic.registry, law=LAW) == 0
    await clinic.holds()


@pytest.mark.parametrize("when", ["before the rivals are read", "before it is taken out"])
async def test_a_live_batch_between_reading_and_writing_makes_the_correction_begin_again(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Nothing of the page is kept, and the next attempt finds what stands by then."""
    await clinic.device(since=hour(-9))
    gives_way = await clinic.give(received=hour(5))
    await clinic.give(received=hour(6), heartRate=61)
    await clinic.device(since=hour(4), disabledReadings=True)
    live = Clinic(clinic.url, PAGE)
    live.__dict__ |= {name: value for name, value in clinic.__dict__.items() if name != "database"}
    step = "candidates" if when == "before the rivals are read" else "remove_readings"
    original = getattr(ingest.correct, step)

    async def meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(ingest.correct, step, original)
        giving = asyncio.ensure_future(live.give(received=hour(1), partition=1, heartRate=61))
        await asyncio.wait({giving}, timeout=0.3)
        others.append(giving)
        return await original(*arguments)

    others: list[asyncio.Future[Place]] = []
    monkeypatch.setattr(ingest.correct, step, meanwhile)
    try:
        await correct(database=clinic.database, registry=clinic.registry, law=LAW)
    except CollisionError:
        assert when == "before the rivals are read"
        assert len(await clinic.pending()) == 2
    newcomer = await others[0]
    await clinic.correct()
    assert await clinic.became(newcomer, gives_way) == ["reading", "readings_disabled"]
    await clinic.holds()
    await live.database.close()


async def test_moments_at_the_edge_of_time_are_judged_again_like_any_other(clinic: Clinic) -> None:
    """An archive may claim to have received in the year 9999: the driver tells that moment without a zone."""
    await clinic.device(since=hour(-9))
    last = datetime.max.replace(tzinfo=UTC)
    places = [await clinic.give(received=last, source=ARCHIVE, taken=taken) for taken in (NOON, NOON, last)]
    places.append(await clinic.give(received=EARLIEST_INSTANT, source=ARCHIVE))
    assert await clinic.became(*places) == ["reading", "duplicate", "reading", "timestamp_implausible"]
    earlier = await clinic.give(received=hour(3))
    assert await clinic.became(earlier, places[0]) == ["reading", "duplicate"]
    await clinic.device(since=hour(4), disabledReadings=True)
    await clinic.correct()
    assert await clinic.became(earlier, *places) == ["reading", *["readings_disabled"] * 3, "timestamp_implausible"]
    async with clinic.database.transaction() as connection:
        await queue_everything(connection)
    await clinic.correct()
    await clinic.holds()
