"""The monitor: engines, one after the other, on a page that shows and sets them.

Messages are JSON objects with a ``type``. To the page: ``session`` (another engine: its clock begins anew),
``settings`` (when they have changed), ``tick`` (60 times a second), ``waiting`` (there is nothing to hear: why, and
what could be heard instead), ``alive`` (instead of ticks meanwhile: a page that is told nothing takes the program for
gone), ``devices``, ``saved``, ``missed`` (this page was too slow for so many messages) and ``error``. From the page:
``label`` and ``offset`` (change a setting), ``reset``, ``save``, ``devices`` and ``device`` (hear another one).

Contents
--------
Monitor
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Self

from ..detector import Detector
from ..engine import Engine
from ..errors import SourceError, SpecError
from ..events import Event
from ..portaudio import Device
from ..settings import LabelSettings, Settings
from ..sources import Source
from . import PORT, SETTINGS
from .access import Access
from .server import Message, Server
from .session import Session

_NOTHING: Message = {"type": "waiting", "text": "nothing is heard yet", "devices": [], "switchable": False}
_ALIVE: Message = {"type": "alive"}
_CHANGEABLE = {each.name for each in fields(LabelSettings)}


class Monitor:
    """A page in the browser, served until it is closed; a context manager.

    Make the engine through it: ``monitor.engine(source, detector).run()``. One engine after the other may be shown;
    what is set in the page carries over to the next. It looks into the detector, so that a `ProcessEngine`, whose
    detector is in another process, has no monitor.

    Parameters
    ----------
    host : str
        Address to listen on. Anything but loopback makes a token necessary, which is part of `url`.
    port : int
        0 takes a free one.
    token : str, optional
        In place of one made up at every start, so that a page finds the program again after it was restarted.
    save_to : path
        File that the page's "save" writes; the page cannot name another.
    devices : callable, optional
        Returns the devices among which the page lets one choose; see `take_choice`.

    Attributes
    ----------
    url : str
        Address of the page.

    Raises
    ------
    SinkError
        If websockets is missing, or the address or port is not available.
    SpecError
        If the token is too short to be one.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = PORT,
        *,
        token: str | None = None,
        save_to: Path = SETTINGS,
        devices: Callable[[], Sequence[Device]] | None = None,
    ) -> None:
        access = Access(host, token)
        self._content = _Content(save_to, devices)
        self._server = Server(self._content, access, port)
        self.url = access.url(self._server.port)

    def engine(self, source: Source, detector: Detector, on_event: Callable[[Event], None] | None = None) -> Engine:
        """Return the `Engine` of these arguments, and show it from now on."""
        session = Session(source, detector, on_event)
        self._content.show(session)
        return session.engine

    def take_choice(self) -> str | None:
        """Return the name of the device chosen last in the page, once; None if there is none.

        When one is chosen, the running engine's source is closed, or that of the next engine if none runs, and so the
        engine ends: open that device and make another engine.
        """
        return self._content.take_choice()

    def wait(self, problem: object, seconds: float, found: Sequence[Device] | None = None) -> str | None:
        """Show why there is nothing to hear and which devices there are, and wait for a choice.

        Parameters
        ----------
        problem : object
            Shown until the next engine is made.
        seconds : float
            To wait at most; then look yourself whether there is something to hear, and come back if not.
        found : sequence of Device, optional
            The devices that there are, where that is known; looking for them again costs time and memory.

        Returns
        -------
        str or None
            What `take_choice` returns, as soon as it is something.
        """
        self._content.wait(str(problem), seconds, found)
        return self.take_choice()

    def tell(self, problem: object) -> None:
        """Show a problem in the page."""
        self._server.send({"type": "error", "text": str(problem)})

    def close(self) -> None:
        """End the server, and raise what went wrong in it, if anything did; the engine is left alone."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Content:
    """What the server serves: the page, and the present session."""

    def __init__(self, save_to: Path, devices: Callable[[], Sequence[Device]] | None) -> None:
        self.page = files(__package__).joinpath("page.html").read_bytes()
        self._save_to, self._devices = save_to, devices
        self._session: Session | None = None
        self._first: Settings | None = None
        self._shown: tuple[Session | None, Settings | None] = (None, None)
        self._waiting: Message | None = _NOTHING  # what is shown instead of a session
        self._waiting_shown: Message | None = _NOTHING
        self._choice: str | None = None
        self._chose = threading.Event()
        self._lock = threading.Lock()

    def show(self, session: Session) -> None:
        """Show this session from now on, with the settings of the one before."""
        with self._lock:
            if self._session:
                session.engine.configure(session.known(self._session.engine.settings))
            else:
                self._first = session.engine.settings
            self._waiting = None
            self._session = session
            if self._choice is not None:  # while this one was being opened
                session.end()

    def wait(self, problem: str, seconds: float, found: Sequence[Device] | None) -> None:
        """Show that there is nothing to hear, until something is chosen, for so long at most."""
        try:
            devices = self._device_names(found)
        except SourceError:  # the sound system itself is what is missing
            devices = []
        self._waiting = {
            "type": "waiting",
            "text": problem,
            "devices": devices,
            "switchable": self._devices is not None,
        }
        self._chose.wait(seconds)

    def take_choice(self) -> str | None:
        """Return what was chosen, once."""
        with self._lock:
            choice, self._choice = self._choice, None
            self._chose.clear()
            return choice

    def greet(self) -> list[Message]:
        """See `Content.greet`."""
        session, waiting = self._session, self._waiting
        messages = [self._describe(session), session.settings()] if session else []
        return [*messages, waiting] if waiting else messages

    def beat(self) -> list[Message]:
        """See `Content.beat`."""
        session, waiting = self._session, self._waiting
        before, self._waiting_shown = self._waiting_shown, waiting
        messages = [waiting] if waiting and waiting != before else []
        if not session:
            return messages or [_ALIVE]
        shown, self._shown = self._shown, (session, session.engine.settings)
        if session is not shown[0]:
            messages.append(self._describe(session))
        if self._shown != shown:
            messages.append(session.settings())
        return [*messages, _ALIVE if waiting else session.tick()]

    def answer(self, message: Message) -> Message | None:
        """See `Content.answer`."""
        match message:
            case {"type": "label", "label": str(label), "changes": dict(changes)}:
                if label not in self._present().labels or changes.keys() - _CHANGEABLE:
                    raise SpecError("no such drum or setting; reload the page, it may be of another version")
                self._change(lambda settings: settings.with_label(label, **changes))
            case {"type": "offset", "seconds": seconds}:
                self._change(lambda settings: replace(settings, offset=seconds))
            case {"type": "reset"}:
                self._change(lambda settings: self._present().known(self._first or settings))
            case {"type": "save"}:
                return self._save()
            case {"type": "devices"}:
                return {"type": "devices", "devices": self._device_names()}
            case {"type": "device", "name": str(name)}:
                self._choose(name)
            case _:
                raise SpecError("no such message; reload the page, it may be of another version")
        return None

    def _describe(self, session: Session) -> Message:
        return {**session.describe(), "switchable": self._devices is not None}

    def _present(self) -> Session:
        if not self._session:
            raise SpecError("nothing is heard yet")
        return self._session

    def _change(self, change: Callable[[Settings], Settings]) -> None:
        with self._lock:
            self._present().engine.change(change)

    def _save(self) -> Message:
        self._present().engine.settings.save(self._save_to)
        return {"type": "saved", "path": str(self._save_to)}

    def _device_names(self, found: Sequence[Device] | None = None) -> list[str]:
        if not self._devices:
            return []
        # Several may have one name; they cannot be told apart here, and the first is taken.
        return list(dict.fromkeys(device.name for device in (self._devices() if found is None else found)))

    def _choose(self, name: str) -> None:
        if name not in self._device_names():
            raise SpecError(f'no input device "{name}" any more')
        with self._lock:
            self._choice = name
            self._chose.set()
            if self._session:
                self._session.end()
