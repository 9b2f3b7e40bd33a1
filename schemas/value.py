"""Values: objects that say something and never change."""

from datetime import datetime
from typing import Final


class Value:
    """Equal to, and hashed as, any other of its class that says the same.

    An ordinary class with an `__init__` of its own, and no dataclass: several are made of each record, and this is what
    mypyc can make a struct of (setup.py). Its attributes are `Final`: it is the type checker that holds an assignment
    back, as a frozen dataclass would take Python five times as long to make.
    """

    __slots__ = ()

    def said(self) -> tuple[object, ...]:
        """All that it says, in the order in which `__init__` is told it."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and type(other) is type(self) and self.said() == other.said()

    def __hash__(self) -> int:
        return hash(self.said())

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle and copy make it anew: mypyc's classes cannot be made empty first."""
        return type(self), self.said()

    def __repr__(self) -> str:
        """For developers: bytes and collections may hold personal data, and are never shown."""
        shown = [
            repr(one) if one is None or isinstance(one, _SHOWN) or hasattr(one, "_fields") else "…"
            for one in self.said()
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


_SHOWN: Final = (int, str, datetime, Value)
