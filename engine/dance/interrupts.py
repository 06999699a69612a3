"""Ctrl-C and the like, kept from processes that are told to stop by whoever began them.

Contents
--------
held, heard
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held(*others: signal.Signals) -> Iterator[None]:
    """Let Ctrl-C, and `others`, wait meanwhile; a process that begins meanwhile hears none, from its beginning on."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # multiprocessing begins its tracker with the first process, and lets Ctrl-C through afterwards: it has to be there.
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *others})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heard(*signals: signal.Signals) -> None:
    """Hear again what was `held` when this process began, and what has come since."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
