"""A moment on the command line."""

from datetime import datetime
from typing import Final

import typer
from pydantic import TypeAdapter, ValidationError

from schemas.wire import Instant

_INSTANT: Final = TypeAdapter[datetime](Instant)


def instant(text: str) -> datetime:
    """As an option's parser: RFC 3339.

    :raises BadParameter: when it is none.
    """
    try:
        return _INSTANT.validate_python(text)
    except ValidationError:
        raise typer.BadParameter("must be RFC 3339, with seconds and zone, as 2026-07-01T12:00:00Z") from None
