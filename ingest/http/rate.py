"""How often one key may ask."""

import time
from typing import Final

_MINUTE_S: Final = 60.0


class RateLimit:
    """So many requests a minute of each key: all at once if need be, then as fast as they come back.

    The generic cell rate algorithm, one number a key. Of one process: behind a balancer each has its own.
    """

    def __init__(self, requests_per_minute: int) -> None:
        self._each_s = _MINUTE_S / requests_per_minute
        self._paid_until: dict[int, float] = {}

    def wait_s(self, key_id: int) -> float:
        """0, and the request counts; or how long the key has to wait."""
        now = time.monotonic()
        due = max(self._paid_until.get(key_id, now), now) + self._each_s
        if due - now > _MINUTE_S:
            return due - now - _MINUTE_S
        self._paid_until[key_id] = due
        return 0
