"""As of a moment: what the states of one device or patient add up to, field by field.

A field's value at `t` is that of the greatest (effective at, recorded at, place) among the states that are effective
by `t` and say the field. Messages equal in every field, an `effectiveAt` that they sent included, are one change, told
first by the earliest of them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from schemas.states import State
from schemas.value import Value


class Said(Value):
    """One value of one field, from a moment on."""

    __slots__ = ("effective_at", "state", "value")

    def __init__(self, effective_at: datetime, value: Any, state: State) -> None:
        self.effective_at: Final = effective_at
        self.value: Final = value
        self.state: Final = state

    def said(self) -> tuple[object, ...]:
        return self.effective_at, self.value, self.state

    def __repr__(self) -> str:
        """What was said may be a zip code."""
        return f"Said({self.effective_at!r}, …, {self.state!r})"


def changes(states: Iterable[State]) -> list[State]:
    """The states without those that only repeat one: in the order in which they were recorded."""
    states = list(states)
    if len(states) == 1:
        return states
    told: dict[object, State] = {}
    for state in sorted(states, key=attrgetter("recorded_at", "place")):
        same = (state.effective_at, state.content) if state.effective_at_sent else state.place
        told.setdefault(same, state)
    return list(told.values())


def history(recorded: Iterable[State], name: str) -> list[Said]:
    """The values of one field over time; `recorded` as `changes` gives them. Of equal moments the last counts."""
    said = [Said(state.effective_at_of(name), state.says[name], state) for state in recorded if name in state.says]
    if len(said) > 1:
        said.sort(key=attrgetter("effective_at"))  # stable: the order of recording decides among equal moments
    return said


def as_of(said: Sequence[Said], at: datetime) -> Said | None:
    """The last of `said` that is effective by `at`."""
    if not said or at < said[0].effective_at:
        return None
    if at >= said[-1].effective_at:  # most histories are short: only what is asked of long ones is searched for
        return said[-1]
    return said[bisect_right(said, at, key=attrgetter("effective_at")) - 1]


def home(zips: Sequence[Said], countries: Sequence[Said], at: datetime) -> tuple[Said | None, Said | None]:
    """A patient's zip code and country: the first state that says a zip code covers the time before it, with both."""
    if zips and at < zips[0].effective_at:
        return zips[0], as_of(countries, zips[0].effective_at)
    return as_of(zips, at), as_of(countries, at)


def customer_of_patient(customers: Sequence[Said], at: datetime) -> Said | None:
    """A patient's customer: the first that is known covers the time before it."""
    first = next((said for said in customers if said.value is not None), None)
    return first if first is not None and at < first.effective_at else as_of(customers, at)


def value_of(said: Said | None) -> Any:
    """What was said, or None."""
    return None if said is None else said.value
