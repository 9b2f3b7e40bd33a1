"""What the database holds, counted: cheaply, without a look at the readings themselves."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sinks.database import Connection
from sinks.statements import sql


class RegistryCount(NamedTuple):
    version: int
    devices: int
    device_states: int
    patients: int
    patient_states: int
    identifiers: int


class AppliedMigration(NamedTuple):
    name: str
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class PartitionCount:
    """What became of the records of one partition of one source."""

    source: str
    partition: int
    first_offset: int
    next_offset: int
    states: int
    rejections: Counter[str]
    """By reason."""
    repeated: int
    expired: int
    missing: int
    gaps: Mapping[str, int]
    """Missing offsets by kind."""
    moved_at: datetime

    @property
    def taken(self) -> int:
        return self.next_offset - self.first_offset

    @property
    def readings(self) -> int:
        """The rows in `readings`, derived: whatever was taken and is nothing else is there (conservation)."""
        elsewhere = self.rejections.total() + self.states + self.repeated + self.missing + self.expired
        return self.taken - elsewhere


class Census(NamedTuple):
    migrations: list[AppliedMigration]
    registry: RegistryCount
    partitions: list[PartitionCount]
    """By source name and partition."""


async def census(connection: Connection) -> Census:
    """Everything counted. Call it in one snapshot (repeatable read), or the parts do not add up while others write."""
    rejections: dict[tuple[int, int], Counter[str]] = {}
    for row in await connection.fetch(sql("census_rejections")):
        by_reason = rejections.setdefault((row["source_id"], row["source_partition"]), Counter())
        by_reason[row["reason"]] = row["rejections"]
    gaps: dict[tuple[int, int], dict[str, int]] = {}
    for row in await connection.fetch(sql("census_gaps")):
        gaps.setdefault((row["source_id"], row["source_partition"]), {})[row["kind"]] = row["missing"]
    partitions = [
        PartitionCount(
            source=row["source"],
            partition=row["source_partition"],
            first_offset=row["first_offset"],
            next_offset=row["next_offset"],
            states=row["states"],
            rejections=rejections.get((row["source_id"], row["source_partition"]), Counter()),
            repeated=row["repeated"],
            expired=row["expired"],
            missing=row["missing"],
            gaps=gaps.get((row["source_id"], row["source_partition"]), {}),
            moved_at=row["moved_at"],
        )
        for row in await connection.fetch(sql("census_partitions"))
    ]
    counted = await connection.fetchrow(sql("census_registry"))
    assert counted is not None, "a SELECT of counts has one row"
    migrations = [AppliedMigration(*row) for row in await connection.fetch(sql("census_migrations"))]
    return Census(migrations, RegistryCount(*counted), partitions)
