"""From the blocks that a file is read in to the batches that are stored: every record once, by its number."""

from collections.abc import Iterator
from itertools import accumulate, chain, pairwise
from tempfile import TemporaryFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import content as read
from ingest.archive import Block, Stretch, _in_size, _untaken, batches, standing_at
from ingest.content import Content, in_blocks
from ingest.refused_record import StandsAlready
from sinks.ledger import FILTERED, Gap, Source
from tests.build import NOON

SOURCE = Source(1, "archive:x", NOON)
values = st.lists(st.integers(0, 9).map(lambda size: b"x" * size), max_size=40)
cuts = st.lists(st.integers(0, 40), max_size=8)
bounds = st.fixed_dictionaries({"most_records": st.integers(1, 12), "most_bytes": st.integers(1, 40)})


def cut(of: list[bytes], at: list[int]) -> Iterator[list[bytes]]:
    """The same, in blocks; some may be empty."""
    return (of[a:b] for a, b in pairwise([0, *sorted(at), max(len(of), *at, 0)]))


@pytest.mark.parametrize("block", [1, 2, 7, 1_000])
@settings(max_examples=200)
@given(written=st.binary(max_size=60).map(b"{".__add__) | st.text("a\r\n ", max_size=60).map(str.encode))
def test_lines_are_what_lies_between_their_ends(block, written):
    with TemporaryFile() as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "_BLOCK", block)
        stream.write(written)
        stream.flush()
        content = Content(stream, opened_at=NOON)
        whole = content.whole()  # without the mark of the byte order
        assert list(chain.from_iterable(content.lines())) == (whole.removesuffix(b"\n").split(b"\n") if whole else [])
        assert content.read == content.size


@given(values)
def test_blocks_hold_every_record_in_its_order(some):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "_BLOCK", 20)
        patch.setattr(read, "_MOST", 5)
        blocks = list(in_blocks(some))
    assert list(chain.from_iterable(blocks)) == some
    assert all(len(block) <= 5 and sum(map(len, block[:-1])) < 20 for block in blocks)
    assert all(len(block) == 5 or sum(map(len, block)) >= 20 for block in blocks[:-1])


@given(values, cuts, bounds, st.lists(st.integers(0, 50), unique=True, max_size=8))
def test_what_nobody_has_taken_goes_into_batches_by_number(some, at, most, edges):
    edges = sorted(edges)
    *taken_from, position = edges if len(edges) % 2 else [*edges, 50]
    gaps = [Gap(a, b, FILTERED) for a, b in zip(taken_from[::2], taken_from[1::2], strict=True)]
    standing = standing_at(SOURCE, position, gaps)
    made = list(batches(cut(some, at), standing, **most))

    numbers = [record.place.offset for batch in made for record in batch.records]
    wanted = [n for n in range(len(some)) if n >= position or any(g.first_offset <= n < g.next_offset for g in gaps)]
    assert numbers == wanted
    assert [record.value for batch in made for record in batch.records] == [some[n] for n in wanted]
    assert all(
        record.received_at is None and record.place[:2] == ("archive:x", 0) for b in made for record in b.records
    )
    begins = {gap.first_offset: gap.next_offset for gap in gaps} | {position: None}
    expected, end = None, None
    for batch in made:
        (move,) = batch.moves
        if move.expected in begins:
            expected, end = move.expected, begins[move.expected]
        assert (move.expected, move.end_of_gap) == (expected, end)
        assert (move.next_offset, move.gaps) == (expected + len(batch.records), [])
        assert end is None or move.next_offset <= end
        expected = move.next_offset
        sizes = list(accumulate(len(record.value) for record in batch.records))
        assert len(sizes) <= most["most_records"]
        assert sizes[:-1] == [] or sizes[-2] < most["most_bytes"], "full before its last record"
        whole = len(sizes) == most["most_records"] or sizes[-1] >= most["most_bytes"]
        assert whole or batch is made[-1] or move.next_offset == end, "not full, though more come"


@given(values, cuts, bounds, st.sets(st.integers(0, 40)))
def test_what_is_not_wanted_is_a_gap_between_those_that_are(some, at, most, unwanted):
    def wanted(blocks: Iterator[Block]) -> Iterator[Block]:
        for stretch, numbers, found in blocks:
            kept = [(n, one) for n, one in zip(numbers, found, strict=True) if n not in unwanted]
            yield Block(stretch, [n for n, _ in kept], [one for _, one in kept])

    made = list(batches(cut(some, at), standing_at(SOURCE, 0, []), **most, wanted=wanted))
    kept = [n for n in range(len(some)) if n not in unwanted]
    assert [record.place.offset for batch in made for record in batch.records] == kept
    moved = [(move.expected, move.next_offset) for batch in made for move in batch.moves]
    assert [a for a, _ in moved] == [0, *(b for _, b in moved)][: len(moved)]
    gone = {n for batch in made for gap in batch.moves[0].gaps for n in range(gap.first_offset, gap.next_offset)}
    assert gone == set(range(kept[-1] if kept else 0)) - set(kept), "what follows the last one is not passed over"


@given(values, cuts, bounds, st.sets(st.integers(0, 40)))
def test_what_the_ledger_has_elsewhere_is_counted_and_not_given(some, at, most, there):
    some = [StandsAlready(one) if n in there else one for n, one in enumerate(some)]
    made = list(batches(cut(some, at), standing_at(SOURCE, 0, []), **most))
    assert [n for batch in made for n in batch.moves[0].repeated] == [n for n in range(len(some)) if n in there]
    assert [r.place.offset for batch in made for r in batch.records] == [n for n in range(len(some)) if n not in there]


def test_small_batches_of_a_large_block_cost_no_more_than_large_ones():
    asked = 0

    class Counted(bytes):
        def __len__(self) -> int:
            nonlocal asked
            asked += 1
            return super().__len__()

    block = [Counted(b"12")] * 5_000
    made = list(batches(iter([block]), standing_at(SOURCE, 0, []), most_records=1, most_bytes=100))
    assert len(made) == 5_000
    assert asked <= 2 * len(block)


def test_no_more_is_read_than_is_taken():
    """Who wants only some does not wait for the rest of a long file."""

    def endless() -> Iterator[list[bytes]]:
        while True:
            yield [b"x"] * 3

    blocks = _in_size(_untaken(endless(), [Stretch(4, 6), Stretch(8, None)]), 2, 100)
    assert [list(next(blocks).numbers) for _ in range(3)] == [[4, 5], [8, 9], [10, 11]]
