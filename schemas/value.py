"""Values: classes whose instances say something and never change."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

Class = TypeVar("Class")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[Class]) -> type[Class]:
    """A dataclass with slots, frozen for the type checker.

    At run time nothing holds an assignment back: an instance of a frozen dataclass takes Python five times as long to
    make, and several are made of each record.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
