"""Whether this process lives and is ready: told by the tasks, asked by the HTTP thread."""

import time
from collections.abc import Callable
from typing import Final

LIVE_WITHIN_S: Final = 15.0
"""A loop that has not turned for so long is stuck."""
BEAT_EVERY_S: Final = 1.0


class Health:
    """What hinders the process, by what it is that is hindered. Ready when nothing does.

    Each change is a single assignment, so that another thread may look at any moment.
    """

    def __init__(self, *hindered_at_first: str) -> None:
        self._hindrances = dict.fromkeys(hindered_at_first, "not yet")
        self._beat_at = time.monotonic()
        self.behind: Callable[[], list[str]] = list
        """Asked on top of what the tasks told."""

    def hinder(self, what: str, why: str) -> None:
        self._hindrances[what] = why

    def clear(self, what: str) -> None:
        self._hindrances.pop(what, None)

    def waiting(self, what: str) -> Callable[[str | None], None]:
        """For `Patience`: hindered while that waits."""

        def tell(why: str | None) -> None:
            if why is None:
                self.clear(what)
            else:
                self.hinder(what, why)

        return tell

    def beat(self) -> None:
        """The loop has turned."""
        self._beat_at = time.monotonic()

    @property
    def live(self) -> bool:
        return time.monotonic() - self._beat_at < LIVE_WITHIN_S

    @property
    def hindrances(self) -> list[str]:
        """Why it is not ready: a line each."""
        return [*(f"{what}: {why}" for what, why in list(self._hindrances.items())), *self.behind()]
