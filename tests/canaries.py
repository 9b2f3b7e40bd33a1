"""Strings that stand for what is personal, given to the service by the whole suite and heard of again nowhere.

`tests.build` puts one into every raw reading; `tests.test_canaries` puts one into every personal field there is, and
breaks every rule with them. What processes write to stderr and what a test prints is searched for them (`tests.service`,
`tests.conftest`).
"""

from typing import Final

CANARY: Final = "kanarie"
"""In every text field."""
ZIP: Final = "99950-7361"
"""A real zip code, Ketchikan, with a delivery route that occurs nowhere else."""
NUMBER: Final = 70_361_994_417
"""Where only a number fits."""
SONGS: Final = (CANARY, ZIP, str(NUMBER))


def heard(text: str) -> list[str]:
    """The lines of a log or a metric in which a canary sings."""
    return [line for line in text.splitlines() if any(song in line.lower() for song in SONGS)]
