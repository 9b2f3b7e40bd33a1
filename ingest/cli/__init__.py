"""The command line: `readings …`. Results on stdout, logs and errors on stderr.

Exit 0 done · 1 the check or run failed · 2 wrong usage or setting · 130 interrupted.
"""

from ingest.cli.app import main

__all__ = ["main"]
