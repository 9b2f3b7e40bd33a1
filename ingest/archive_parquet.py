"""Archives in Parquet, read a few thousand rows at a time; needs the extra `parquet`."""

import io
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from ingest.archive_columns import Columns, columns_of, envelope_of_row, plain
from ingest.content import Content, UnreadableFileError, in_blocks

MAGIC: Final = b"PAR1"
_ROWS: Final = 2_000
_BUFFER: Final = 1_048_576


def parquet_rows(content: Content) -> Callable[[], Iterator[list[bytes]]]:
    """How to read its rows, each as the envelope that it stands for.

    :raises UnreadableFileError: when it is no whole Parquet file, or its columns are not those of an archive.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
    except ImportError:
        raise UnreadableFileError("Parquet, which needs: pip install 'device-readings[parquet]'") from None
    if os.pread(content.descriptor, len(MAGIC), 0) != MAGIC:
        raise UnreadableFileError("Parquet that is packed once more: unpack it first")
    try:
        columns = columns_of(_opened(content).schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFileError(f"a Parquet file that is cut off or damaged ({type(error).__name__})") from None
    return lambda: in_blocks(_rows(content, columns))


def _rows(content: Content, columns: Columns) -> Iterator[bytes]:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    parquet = _opened(content)
    try:
        for batch in parquet.iter_batches(_ROWS, columns=columns.used, use_threads=False):
            for row in _in_microseconds(batch).to_pylist():
                yield envelope_of_row(columns, row if columns.envelope is not None else plain(row))
            content.tell()
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFileError(f"a Parquet file that is damaged ({type(error).__name__})") from None


def _opened(content: Content) -> Any:
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    # Of a row group no more than the buffer of each column is in memory.
    return pq.ParquetFile(io.FileIO(content.descriptor, closefd=False), buffer_size=_BUFFER, pre_buffer=False)


def _in_microseconds(batch: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    for at, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            cut = batch.column(at).cast(pa.timestamp("us", field.type.tz), safe=False)
            batch = batch.set_column(at, field.name, cut)
    return batch
