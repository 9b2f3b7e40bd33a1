"""The cookbook of the README, as it stands there, asked of the practice on every engine; the answers are told by hand."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.build import at
from tests.fill import fill
from tests.practice import given
from tests.test_answers import Practice, days, local, on_every_engine, practice  # noqa: F401 - a fixture

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## Cookbook\n")[2].partition("\n## ")[0]
RECIPES = {
    int(number): query
    for number, query in re.findall(
        r"^-- (\d+)\. .+\n((?:(?!-- \d).*\n)+)", SECTION.replace("```", ""), flags=re.MULTILINE
    )
}


def pressures(*rows: tuple[str, int, int]) -> list[tuple[Any, ...]]:
    return [(local(shown), systolic, diastolic) for shown, systolic, diastolic in rows]


ANSWERS: dict[int, list[tuple[Any, ...]]] = {
    # In spring the hour from 2:00 is left out.
    1: pressures(
        ("2025-03-08T23:30", 120, 80),
        ("2025-03-09T00:30", 122, 82),
        ("2025-03-09T01:59", 124, 84),
        ("2025-03-09T03:00", 126, 86),
        ("2025-03-09T23:30", 128, 88),
        ("2025-03-10T00:30", 130, 90),
    ),
    2: [
        ("bloodPressure", local("2025-11-03T00:30"), 148, 98, None, None),
        ("weight", local("2025-06-01T22:30"), None, None, 177.0, None),
    ],
    # By day 120, 128 and 146, each at 23:30 by the clock of its own season.
    3: [(False, 3, Decimal("131.3")), (True, 8, Decimal("134.5"))],
    4: [
        (days("2025-03-11"), 181.0, None),
        (days("2025-03-13"), 182.5, 1.5),
        (days("2025-05-31"), 179.0, -3.5),
        (days("2025-06-01"), 177.5, -1.5),
    ],
    5: [(7, 4, 2, "2-15", False), (8, 1, 0, "none", True), (77, 19, 0, "16+", False), (99, 0, 0, "none", False)],
    6: [(77, days("2025-03-16"))],
    7: [(3, 8, at("2025-03-09T23:31")), (11, 77, at("2025-03-20T09:31"))],
    8: [(4, at("2025-03-20T00:00"), 2, at("2025-03-22T12:01"))],
    9: [
        (days("2025-03-09"), "duplicate", Decimal(1)),
        (days("2025-03-09"), "conflicting_duplicate", Decimal(1)),
        (days("2025-03-11"), "invalid", Decimal(1)),
    ],
    # What the cuff shows when clocks go forward: an hour behind.
    10: [(1, 7, Decimal(-1), 1)],
}
# It tells a clock's offset, and not whose clock: no device's to be mended.
OF_NO_DEVICE = (
    "2025-03-16T12:00",
    {"kind": "temperature", "patientId": 77, "temperature": 98.6, "temperatureUnit": "F", "deviceTimeZoneOffset": 0},
)


def test_there_are_ten_recipes_and_ten_answers() -> None:
    assert list(RECIPES) == list(range(1, 11))
    assert RECIPES.keys() == ANSWERS.keys()


@on_every_engine
async def test_each_recipe_answers_as_one_would_by_hand(practice: Practice) -> None:  # noqa: F811
    """And one more patient, whom the registry knows and who has never sent anything; and the clock of no device."""
    await practice.never_measured(99)
    await fill(practice.url, [], given([OF_NO_DEVICE], partition=1))
    for number, query in RECIPES.items():
        answer = await practice.ask(query)
        assert answer == ANSWERS[number], f"recipe {number}"
        assert not any(isinstance(value, float) for row in answer for value in row), f"recipe {number} shows -10.399999"


@on_every_engine
async def test_in_autumn_an_hour_comes_twice(practice: Practice) -> None:  # noqa: F811
    """The first recipe for the week in which clocks go back."""
    autumn = RECIPES[1].replace("2025-03-06", "2025-10-30").replace("2025-03-13", "2025-11-06")
    assert autumn != RECIPES[1]
    assert await practice.ask(autumn) == pressures(
        ("2025-11-02T00:30", 140, 90),
        ("2025-11-02T01:30", 142, 92),
        ("2025-11-02T01:30", 144, 94),
        ("2025-11-02T23:30", 146, 96),
        ("2025-11-03T00:30", 148, 98),
    )
