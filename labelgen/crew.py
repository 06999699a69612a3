"""What a Dask worker needs in order to do units of work; needs `distributed`.

Contents
--------
Crew, on_worker
"""

import os
import threading
from pathlib import Path

from distributed import Worker, WorkerPlugin, get_worker

from labelgen.pools import Make, Outcome, Setup, WorkError, attempt


class Crew(WorkerPlugin):
    """Prepares a worker's process once and does units in it one at a time.

    Parameters
    ----------
    name : str
        Of the run.
    make, setup, setup_args
        As for `labelgen.pools.Processes`.
    limit : float or None
        Seconds for a unit. A thread cannot be stopped, so the worker ends itself; Dask's nanny starts it again.
    """

    def __init__(
        self, name: str, make: Make, setup: Setup | None, setup_args: tuple[object, ...], limit: float | None
    ) -> None:
        self.name = name
        self._work = make, setup, setup_args, limit
        self._folder = Path.cwd()

    def setup(self, worker: Worker) -> None:
        """Begin on a worker (called by Dask)."""
        self._lock = threading.Lock()  # soundfonts and models are not made for threads
        self._ready = False

    def do(self, job: object) -> Outcome:
        """Do one unit.

        Raises
        ------
        WorkError
            If the worker cannot be prepared.
        """
        make, setup, setup_args, limit = self._work
        with self._lock:
            if not self._ready:
                try:
                    os.chdir(self._folder)  # relative paths mean the same as where the run was started
                    if setup:
                        setup(*setup_args)
                except Exception as error:
                    raise WorkError(f"worker on {os.uname().nodename}: {type(error).__name__}: {error}") from None
                self._ready = True
            timer = threading.Timer(limit, os._exit, (1,)) if limit else None
            if timer:
                timer.daemon = True
                timer.start()
            try:
                return attempt(make, job)
            finally:
                if timer:
                    timer.cancel()


def on_worker(crew: str, job: object) -> Outcome:
    """Do one unit on the worker that this runs on."""
    plugin = get_worker().plugins[crew]
    assert isinstance(plugin, Crew)
    return plugin.do(job)
