"""Ctrl-C, kept from processes that are told to stop by whoever began them.

Contents
--------
held
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held() -> Iterator[None]:
    """Let Ctrl-C wait meanwhile; a process that begins meanwhile never hears it, from its first instruction on."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # multiprocessing begins its tracker with the first process, and lets Ctrl-C through afterwards: it has to be there.
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
