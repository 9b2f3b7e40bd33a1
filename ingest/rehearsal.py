"""A run that only judges: what would become of each record, rule 9 included, with nothing written to the database.

What the run would have stored is kept in a nameless database on disk, so that memory stays bounded.
"""

import pickle
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from enrich.law import Law
from enrich.rank import rank, ranked_by_key, reason_beside
from enrich.registry import Registry
from ingest.archive import Standing, Stretch, look_up
from ingest.batch import Batch
from ingest.change import READING, Change, fates
from ingest.content import Content
from ingest.explain_rank import as_accepted
from ingest.judging import Judging
from schemas.judgement import Accepted, Entry, Judgement, ReadingKey, told_apart
from sinks.database import Database
from sinks.errors import OperatorError
from sinks.whereabouts import competing_for

Ranked = list[Entry[Accepted]]
"""All with one natural key, the reading first."""


class Rehearsal:
    """Stands where the database would stand by now, if the run were meant."""

    def __init__(self, database: Database, registry: Registry, law: Law) -> None:
        self._database, self._registry, self._law = database, registry, law
        self._gone_to: dict[str, int] = {}
        self._kept = sqlite3.connect("")
        self._kept.execute("CREATE TABLE ranked (key TEXT PRIMARY KEY, entries BLOB) WITHOUT ROWID")

    async def enter(self, content: Content) -> Standing:
        """Where the database stands with a content, which it is not told of."""
        async with self._database.transaction(readonly=True) as connection:
            standing = await look_up(connection, content)
        gone_to = self._gone_to.get(standing.source.name)
        return standing if gone_to is None else Standing(standing.source, gone_to, [Stretch(gone_to, None)])

    async def store(self, batch: Batch, *, look: Callable[[Sequence[Entry[Judgement]]], None]) -> Change:
        """What storing the batch would change, by what the registry is told now.

        Whether the database would refuse a row is not known here, nor what a change of the registry will correct.
        """
        judging = Judging(batch, self._registry, self._law)
        look(judging.entries)
        async with self._database.transaction(readonly=True) as connection:
            entries = await judging.settled(connection)
        accepted, rejected = told_apart(entries)
        by_key = ranked_by_key(accepted)
        were = await self._ranked(by_key)
        are = {key: sorted(were.get(key, []) + newcomers, key=rank) for key, newcomers in by_key.items()}
        rows = [(repr(key), pickle.dumps(ranked)) for key, ranked in are.items()]
        try:
            self._kept.executemany("INSERT OR REPLACE INTO ranked VALUES (?, ?)", rows)
        except sqlite3.OperationalError as error:
            raise OperatorError(
                f"the temporary folder has no room for what the dry run keeps ({error.sqlite_errorname});"
                " SQLITE_TMPDIR names another"
            ) from None
        self._gone_to.update({move.source.name: move.next_offset for move in batch.moves})
        return Change(fates(rejected) + _lines(are.values()), _lines(were.values()))

    async def _ranked(self, keys: Collection[ReadingKey]) -> dict[ReadingKey, Ranked]:
        """What competes for the keys by now: as this run left it, or else as it stands."""
        kept = {key: pickle.loads(row) for key in keys if (row := self._kept_under(key)) is not None}  # noqa: S301 - ours
        async with self._database.transaction(readonly=True) as connection:
            competing = await competing_for(connection, [key for key in keys if key not in kept])
        return kept | ranked_by_key(map(as_accepted, competing))

    def _kept_under(self, key: ReadingKey) -> bytes | None:
        row = self._kept.execute("SELECT entries FROM ranked WHERE key = ?", (repr(key),)).fetchone()
        return None if row is None else row[0]


def _lines(by_key: Collection[Ranked]) -> Counter[str]:
    """The lines of the ledger that these are, by fate."""
    lines = Counter({READING: len(by_key)})
    for first, *others in by_key:
        said = first.judgement.reading
        lines.update(str(reason_beside(said, other.judgement.reading)) for other in others)
    return lines
