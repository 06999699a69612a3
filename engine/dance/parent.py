"""The process that began this one: nothing here outlives it.

Contents
--------
follow
"""

import os
import threading

_SECONDS = 1.0  # between looks at whether the parent is still ours


def follow() -> None:
    """End this process as soon as the one that began it has ended, however that came; returns at once.

    multiprocessing's sentinel, as a socket or a pipe of ours, stays open in whatever else the parent has forked: who
    our parent is has to be asked, too. (Windows forks nothing, and gives the same answer for ever.)
    """
    threading.Thread(target=_end, name="dance follow", daemon=True).start()


def _end() -> None:
    from multiprocessing import parent_process  # takes 20 ms to load, which not everybody who imports us should pay

    parent = parent_process()
    while parent and os.getppid() == parent.pid:
        parent.join(_SECONDS)
        if not parent.is_alive():
            break
    os._exit(1)
