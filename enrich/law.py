"""The parameters of the law: change one, and what is stored has to be judged again."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Law:
    """What the judgement depends on besides the records and the registry; kept in the table `law_parameters`."""

    blocked_statuses: frozenset[str] = frozenset({"decommissioned"})
    """A device in one of these may not submit readings."""
    future_limit: timedelta = timedelta(hours=24)
    """How far `readingTimestamp` may lie after the moment of receipt."""
    earliest: datetime = datetime(2001, 1, 1, tzinfo=UTC)
    """No `readingTimestamp` before this is plausible."""
    max_bytes: int = 1_048_576
    """Largest record, in bytes."""
    max_depth: int = 64
    """Deepest nesting of objects and arrays."""

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy make it anew: of a class that mypyc has compiled they could not set the fields."""
        return type(self), tuple(getattr(self, one.name) for one in fields(self))
