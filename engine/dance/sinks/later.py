"""A sink for a device or a host that is not there yet.

Contents
--------
Later
"""

from collections.abc import Callable
from time import monotonic

from ..errors import AbsentError
from ..events import Event
from .outlet import Sink

_AGAIN_SECONDS = 5.0


class Later:
    """Stands for a sink that can only be made once something is there; use it in an `Outlet`, whose thread tries.

    The sink is made at once if possible; otherwise that is tried every 5 seconds. Hits meanwhile are missed, except
    those during the try that succeeds, which come late.

    Parameters
    ----------
    make : callable
        Returns the sink, or raises `AbsentError`.
    name : str
        What it is called before it is there.
    tell : callable
        Called with a line of text if it is not there at once, and when it then is.

    Raises
    ------
    SinkError
        And whatever else `make` raises the first time, if waiting does not help.
    """

    def __init__(self, make: Callable[[], Sink], name: str, tell: Callable[[str], object]) -> None:
        self._make, self._name, self._tell = make, name, tell
        self._sink: Sink | None = None
        self._absence, self._due = "", 0.0
        self._try()
        if self._sink is None:
            tell(f"{self._absence}; trying again")

    def __call__(self, event: Event) -> None:
        """Tell the sink, or raise why there is none."""
        if self._sink is None:
            raise AbsentError(self._absence)
        self._sink(event)

    def pulse(self) -> float | None:
        """Let the sink do what is due, or make it if that is; see `Outlet`."""
        if self._sink is None:
            if (wait := self._due - monotonic()) > 0:
                return wait
            self._try()
            if self._sink is None:
                return _AGAIN_SECONDS
            self._tell(f"{self} works")
        pulse: Callable[[], float | None] = getattr(self._sink, "pulse", lambda: None)
        return pulse()

    def close(self) -> None:
        """End the sink if there is one."""
        getattr(self._sink, "close", lambda: None)()

    def __str__(self) -> str:
        return self._name if self._sink is None else str(self._sink)

    def _try(self) -> None:
        try:
            self._sink = self._make()
        except AbsentError as error:
            self._absence = str(error)
        finally:
            self._due = monotonic() + _AGAIN_SECONDS
