"""What ended a service, told once."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from ingest.settings import Settings, SettingsError
from ingest.stop_line import StopLineError
from sinks.errors import SinkError

log = structlog.get_logger(__name__)


@contextmanager
def last_words(settings: Settings) -> Iterator[None]:
    """What ends it is in the log, too, where that is JSON: the command's own last line is none.

    In a log of text that line, which comes last whatever ended the command, says all that there is to say.
    """
    try:
        yield
    except (SinkError, StopLineError, SettingsError) as error:
        if settings.log_format == "json":
            log.critical("ended", why=str(error))
        raise
