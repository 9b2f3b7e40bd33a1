"""An envelope that is written as nearly all are, read in one go."""

from collections.abc import Callable
from typing import Any, Final, Union

from msgspec import Struct, defstruct
from msgspec.json import Decoder

from schemas.payload_reading import Reader
from schemas.payloads import PAYLOADS, PayloadOf


class PlainEnvelope(Struct, rename="camel"):
    """What is asked of it; there is a class for each kind."""

    payload: dict[str, Any]
    received_at: str | None = None


def _of(type_: str, payload: PayloadOf) -> type[Struct]:
    said = [("payload", payload.model)]
    return defstruct(payload.model.__name__, said, bases=(PlainEnvelope,), tag_field="type", tag=type_)


READERS: Final[dict[type[Struct], Reader]] = {
    _of(type_, payload): payload.reader for type_, payload in PAYLOADS.items()
}
"""What makes a reading of the payload in each."""
decode: Final[Callable[[bytes], PlainEnvelope]] = Decoder(Union[tuple(READERS)]).decode  # noqa: UP007 - no `|` takes a list
"""Raises `ValueError` for whatever is none, and for some that are."""
