"""Logs go to stderr, as text for people or JSON for machines; results go to stdout."""

import logging
import sys
import time
from typing import Literal

import structlog


def set_up_logs(form: Literal["text", "json"], level: str) -> None:
    """Send our log lines, and the libraries', through one door. No line holds a payload, a zip code or a name."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    lines = logging.StreamHandler(sys.stderr)
    lines.addFilter(_once_in_a_while)
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [lines]
    root.setLevel(level.upper())
    # Below INFO aiokafka writes whole requests and answers, payloads included.
    logging.getLogger("aiokafka").setLevel(max(logging.WARNING, root.level))


_LIBRARY_LINE_EVERY_S = 30.0
_last_line: dict[str, float] = {}


def _once_in_a_while(record: logging.LogRecord) -> bool:
    """Aiokafka repeats itself many times a second while a broker is away: each of its lines counts once in a while."""
    if not record.name.startswith("aiokafka"):
        return True
    now, last = time.monotonic(), _last_line.get(str(record.msg), -_LIBRARY_LINE_EVERY_S)
    if now - last < _LIBRARY_LINE_EVERY_S:
        return False
    _last_line[str(record.msg)] = now
    return True
