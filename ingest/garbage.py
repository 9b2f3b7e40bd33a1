"""The garbage collector, told what it need not look through."""

import gc
from typing import Final

_A_BATCH: Final = 200_000
"""Objects, more than a batch is made of: they die with it, by their counts, and none of them in a circle."""


def keep_what_is_here() -> None:
    """What is alive now is not looked through again, and the rest seldom: what is learnt of devices stays, batches go.

    A fifth of a consumer's time went into looking.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_A_BATCH, 20, 100)
