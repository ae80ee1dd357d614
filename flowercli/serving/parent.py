"""The end of a server process: with its parent, whoever killed that, and by force where it takes too long."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

# After the seconds that requests are given at the end: for the end of what else there is, such as a log.
FORCE_SECONDS = 3.0


def end_with_parent() -> None:
    """Have this process end as by SIGTERM when the process that started it does; nothing if it was not started so."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
