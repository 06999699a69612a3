"""Ctrl-C while a network is trained: between two batches, where nothing can swallow it.

Contents
--------
Interrupts
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning.pytorch as pl


class Interrupts(pl.Callback):
    """Ends a training before its next batch once Ctrl-C was pressed; pressed again, at once.

    An exception raised wherever the program happens to be is lost where that is a destructor, as of torch's loaders.
    """

    def __init__(self) -> None:
        self._pressed = False

    @contextmanager
    def heard(self, deaf: bool = False) -> Iterator[None]:
        """Handle Ctrl-C inside the block; ignore it if `deaf`."""
        before = signal.getsignal(signal.SIGINT)
        if before is signal.SIG_IGN:  # so the shell began it, in the background
            yield
            return
        signal.signal(signal.SIGINT, signal.SIG_IGN if deaf else self._press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _press(self, number: int, frame: FrameType | None) -> None:
        if self._pressed:
            raise KeyboardInterrupt
        self._pressed = True

    def on_train_batch_start(self, *_: Any) -> None:
        """End the training if so asked; the last epoch that ended is kept."""
        if self._pressed:
            raise KeyboardInterrupt
