"""What makes a command load faster: no search for garbage meanwhile, and no threads that it does not need."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def uncollected() -> Iterator[None]:
    """Load what stays until the program ends: Python would look through it for garbage again and again.

    That is a thirtieth of the time in which one picture is answered from cold, and a fifteenth of that of the help.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def keep_numpy_to_one_thread() -> None:
    """Let numpy's BLAS start no threads when it is loaded, unless the user has set how many.

    It starts one a core, and they spin for a tenth of a second. To answer, numpy multiplies one embedding at a time.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
