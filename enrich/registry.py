"""The registry as of a moment, in the compact form that the judgement asks.

It is learnt as it is asked for: who is asked for and is not known is noted, to be learnt. A process starts at once,
however many devices there are, and keeps in memory those whose readings come to it.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from enrich.as_of import Said, as_of, changes, customer_of_patient, history, home, value_of
from enrich.zones import Zones
from schemas.states import NOBODY, About, Names, State
from schemas.value import Value
from schemas.wire import EARLIEST_INSTANT


class DeviceAsOf(Value):
    """A device at a moment; before its first known state it is known, not blocked, not assigned."""

    __slots__ = ("customer_id", "patient_id", "readings_disabled", "status")

    def __init__(
        self,
        status: str | None = None,
        readings_disabled: bool = False,
        patient_id: int | None = None,
        customer_id: int | None = None,
    ) -> None:
        self.status: Final = status
        self.readings_disabled: Final = readings_disabled
        self.patient_id: Final = patient_id
        self.customer_id: Final = customer_id

    def said(self) -> tuple[object, ...]:
        return self.status, self.readings_disabled, self.patient_id, self.customer_id


_UNTOLD: Final = DeviceAsOf()


class PatientAsOf(Value):
    """A patient at a moment. The zip code itself is left behind: only its zone is needed, and it is no secret."""

    __slots__ = ("customer_id", "time_zone")

    def __init__(self, time_zone: str | None, customer_id: int | None) -> None:
        self.time_zone: Final = time_zone
        self.customer_id: Final = customer_id

    def said(self) -> tuple[object, ...]:
        return self.time_zone, self.customer_id


What = TypeVar("What")


class Timeline(Value, Generic[What]):
    """What held when."""

    __slots__ = ("_now", "_since", "moments", "values")

    def __init__(self, moments: tuple[datetime, ...], values: tuple[What, ...]) -> None:
        self.moments: Final = moments
        self.values: Final = values
        """One more than `moments`: the first holds before them all."""
        # What holds now, which most ask for, is had without a look at the others.
        self._since: Final = moments[-1] if moments else None
        self._now: Final = values[-1]

    def said(self) -> tuple[object, ...]:
        return self.moments, self.values

    def at(self, at: datetime) -> What:
        if self._since is None or at >= self._since:
            return self._now
        return self.values[bisect_right(self.moments, at)]


NOTHING_LEARNT: Final = -1
"""The version before the first that a database has."""
_MOST_NOBODIES = 100_000
"""Names of whom there is nothing to learn: anybody can make them up. When there are more, they are forgotten.

Not `Final`: compiled, no test could set it.
"""

Name = TypeVar("Name")


class _Learnt(dict[Name, What | None]):
    """What was learnt of whom. None is learnt too: there is nobody by that name."""

    def __init__(self, missed: Callable[[], None]) -> None:
        super().__init__()
        self.wanted = set[Name]()
        self._missed = missed
        self._nobodies = 0

    def __missing__(self, name: Name) -> None:
        self.wanted.add(name)
        self._missed()

    def note_nobody(self, name: Name) -> None:
        """Learn that there is nobody by that name, if there is not."""
        if name not in self:
            self[name] = None
            self._nobodies += 1

    def forget_nobodies(self) -> None:
        if self._nobodies > _MOST_NOBODIES:
            for name in [name for name, learnt in self.items() if learnt is None]:
                del self[name]
            self._nobodies = 0


class Registry:
    """What is known by now of devices, patients and identifiers, as of `version`. Holds no raw states.

    Whoever is asked for and was not learnt is answered for as if there were nobody, and is to be learnt.
    """

    def __init__(self, zones: Zones) -> None:
        self.version = NOTHING_LEARNT
        self._zones = zones
        self.missed = 0
        """How often somebody was asked for in vain: an answer during which it grows is in doubt."""
        self.answering = 0
        """How many wait for an answer that needs all those whom it asks for at once."""
        self._owners = _Learnt[str, int](self._miss)
        self._devices = _Learnt[int, Timeline[DeviceAsOf]](self._miss)
        self._patients = _Learnt[int, Timeline[PatientAsOf]](self._miss)
        self._alike: dict[Timeline[PatientAsOf], Timeline[PatientAsOf]] = {}
        # Asked several times for each reading: the dictionaries' own look-ups, with no step of ours between.
        self.owner: Callable[[str], int | None] = self._owners.__getitem__
        """The device that an identifier belongs to, for ever; None is nobody."""
        self.history_of_device: Callable[[int], Timeline[DeviceAsOf] | None] = self._devices.__getitem__
        """A device at every moment; None if there is no state of it at all."""
        self.history_of_patient: Callable[[int], Timeline[PatientAsOf] | None] = self._patients.__getitem__
        """A patient at every moment; None if there is no state at all: no zone and no customer."""

    def take_wanted(self) -> Names:
        """Those who were asked for in vain since this was asked last. Whoever asked has to learn of them."""
        learnt = self._owners, self._devices, self._patients
        wanted = Names(frozenset(learnt[0].wanted), frozenset(learnt[1].wanted), frozenset(learnt[2].wanted))
        for some in learnt:
            some.wanted.clear()
        return wanted

    def lacking(self, names: Names) -> Names:
        """Those of them of whom nothing is learnt yet."""
        return Names(*[frozenset([name for name in some if name not in learnt]) for learnt, some in self._each(names)])

    def begin(self, *, version: int) -> None:
        """Forget everybody, and learn from this version on."""
        for learnt in (self._owners, self._devices, self._patients, self._alike):
            learnt.clear()
        self.version = version

    def learn(self, states: Iterable[State], owners: Mapping[str, int], *, version: int, of: Names = NOBODY) -> None:
        """Replace what is known of those whom `states` are about: always *all* states of each of them.

        :param of: those who were asked for: of whom there is nothing among the states and owners, there is nobody.
        """
        whose: dict[tuple[About, int], list[State]] = {}
        for state in states:
            whose.setdefault((state.about, state.subject_id), []).append(state)
        for (about, subject_id), told in whose.items():
            if about is About.DEVICE:
                self._devices[subject_id] = _device_timeline(told)
            else:
                timeline = self._patient_timeline(told)
                # Most patients have one zone and one customer for all time: those of one zone and customer are one.
                alike = timeline if timeline.moments else self._alike.setdefault(timeline, timeline)
                self._patients[subject_id] = alike
        self._owners.update(owners)
        for learnt, names in self._each(of):
            for name in names:
                learnt.note_nobody(name)
        self.version = version

    def forget_nobodies(self) -> None:
        """Forget of whom there is nothing to learn, if they have become too many.

        Not while somebody waits for an answer: who names more of them would never have it.
        """
        if not self.answering:
            for learnt in (self._owners, self._devices, self._patients):
                learnt.forget_nobodies()

    def forget(self, changed: Names, *, version: int) -> None:
        """Of these something else is told at `version`: they are learnt anew when they are asked for.

        A version that the registry has reached already changes nothing.
        """
        if version > self.version:
            for learnt, names in self._each(changed):
                for name in names:
                    learnt.pop(name, None)
            self.version = version

    def device(self, device_id: int, *, at: datetime) -> DeviceAsOf | None:
        """The device as of `at`; None if there is no state of it at all."""
        timeline = self.history_of_device(device_id)
        return None if timeline is None else timeline.at(at)

    def _each(self, names: Names) -> tuple[tuple[_Learnt[Any, Any], frozenset[Any]], ...]:
        return (self._owners, names.identifiers), (self._devices, names.devices), (self._patients, names.patients)

    def _miss(self) -> None:
        self.missed += 1

    def _patient_timeline(self, states: Iterable[State]) -> Timeline[PatientAsOf]:
        told = changes(states)
        zips, countries, customers = [history(told, name) for name in ("zipCode", "country", "customerId")]

        def at(moment: datetime) -> PatientAsOf:
            answer = self._zones.of(*map(value_of, home(zips, countries, moment)))
            return PatientAsOf(answer.zone, value_of(customer_of_patient(customers, moment)))

        return _timeline(at, zips, countries, customers)


def _device_timeline(states: Iterable[State]) -> Timeline[DeviceAsOf]:
    told = changes(states)
    names = ("currentStatus", "disabledReadings", "patientId", "customerId")
    statuses, disabled, patients, customers = histories = [history(told, name) for name in names]

    def at(moment: datetime) -> DeviceAsOf:
        said = DeviceAsOf(
            value_of(as_of(statuses, moment)),
            bool(value_of(as_of(disabled, moment))),
            value_of(as_of(patients, moment)),
            value_of(as_of(customers, moment)),
        )
        return _UNTOLD if said == _UNTOLD else said  # one for all devices: most begin like that

    return _timeline(at, *histories)


def _timeline(at: Callable[[datetime], What], *histories: list[Said]) -> Timeline[What]:
    """Of the moments at which somebody said something those that changed something."""
    moments, values = list[datetime](), [at(EARLIEST_INSTANT)]
    for moment in sorted({said.effective_at for values in histories for said in values}):
        value = at(moment)
        if value != values[-1]:
            moments.append(moment)
            values.append(value)
    return Timeline(tuple(moments), tuple(values))
