"""What is said of a zip code: a zone and how sure it is, or none and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enrich.zip_code import NoZone


class Quality(StrEnum):
    """How sure the zone of a zip code is."""

    EXACT = "exact"
    """All of the zip keeps this time, as far as is known."""
    STRADDLES = "straddles"
    """A boundary runs through the zip; the zone is that of most homes, `other_zone` that of the rest."""
    CONTESTED = "contested"
    """Law and local clocks differ; the zone is what the clocks there say, `other_zone` what the law says."""
    NONE = "none"
    """There is no zone to name: `reason` says why."""


@dataclass(frozen=True, slots=True)
class ZipAnswer:
    """`zone` is an IANA name that the packaged tzdata knows, or None with a `reason`; never both, never neither.

    `other_share` is the part of the zip's residential addresses in `other_zone`, 0 to 1; None where nobody has counted.
    """

    zone: str | None
    quality: Quality
    reason: NoZone | None = None
    other_zone: str | None = None
    other_share: float | None = None
    lost_zero: bool = False
    """The zip came with four digits and was read with the zero in front that it had lost."""


@cache
def no_zone(reason: NoZone) -> ZipAnswer:
    """The answer that names no zone, for that reason."""
    return ZipAnswer(None, Quality.NONE, reason)
