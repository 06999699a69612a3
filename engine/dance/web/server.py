"""The server behind the page: one thread, one event loop; nobody else ever waits for it.

It serves the page at ``/`` and messages at ``/socket``, both JSON objects; everything else is refused. A client who
reads too slowly loses messages and is told how many; one who writes too fast is read more slowly.

Contents
--------
Server, Content, Message, FRAMES_A_SECOND, CLIENTS, MESSAGE_BYTES
"""

import asyncio
import errno
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import DanceError, SinkError, SpecError, install, os_reason
from .access import Access

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

FRAMES_A_SECOND = 60
CLIENTS = 8
"""Pages that may be open at once."""

MESSAGE_BYTES = 4096
"""Longest message that a page may send; a longer one ends the connection."""

_MESSAGES_A_SECOND = 100  # of one client, in the long run
_BURST = 200  # messages that one may send at once before that rate holds
_BACKLOG = 60  # messages kept for a client that is slow: about a second
_TRY_AGAIN = 1013  # a WebSocket's code: not now
_OPEN_SECONDS = 2  # browsers open connections in advance and send nothing; closing the server waits for them

# The page brings all it needs: even if a device's name were to smuggle markup in, nothing could be loaded or sent.
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_log = logging.getLogger(__name__)
_refusals = logging.getLogger(f"{__name__}.refusals")
_refusals.addHandler(logging.NullHandler())  # who sent a bad request is told; the terminal need not be

Message = dict[str, Any]


class Content(Protocol):
    """What is served."""

    page: bytes

    def greet(self) -> list[Message]:
        """Return what a new client has to know; in the server's thread."""
        ...

    def beat(self) -> list[Message]:
        """Return what is new for all; in the server's thread, `FRAMES_A_SECOND` times a second while anybody looks."""
        ...

    def answer(self, message: Message) -> Message | None:
        """Do what a client asks; in a thread of its own. A `DanceError` is answered as an error."""
        ...


class Server:
    """Serves `content` from a thread of its own until it is closed.

    Parameters
    ----------
    content : Content
    access : Access
    port : int
        0 takes a free one.
    name, option : str
        What serves, and how the command line sets its port: for errors.

    Attributes
    ----------
    port : int
        The one in use.

    Raises
    ------
    SinkError
        If websockets is missing, or the address or port is not available.
    """

    def __init__(
        self, content: Content, access: Access, port: int, *, name: str = "the monitor", option: str = "--web PORT"
    ) -> None:
        try:
            import websockets
        except ImportError as error:
            raise SinkError(f"{name} needs websockets: {install('web')} ({error})") from None
        self._closed_by_peer = websockets.ConnectionClosed
        self.port = port
        self._content, self._access = content, access
        self._name, self._option = name, option
        self._clients: set[_Client] = set()
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._watched = asyncio.Event()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="dance web", daemon=True)
        self._thread.start()
        self._ready.wait()
        if not self._thread.is_alive() or self._failure:
            self._thread.join()
            raise self._failure or RuntimeError("the web server ended at once")

    def send(self, message: Message) -> None:
        """Send a message to all clients; from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._broadcast, [message])

    def close(self) -> None:
        """End, and raise what went wrong in the server's thread, if anything did."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()
        failure, self._failure = self._failure, None
        if failure:
            raise failure

    def _work(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except (OSError, UnicodeError) as error:
            taken = getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
            mend = f"choose another port with {self._option}" if taken else "name an address of this machine"
            self._failure = SinkError(
                f"{self._name} cannot listen on {self._access.host} port {self.port} ({os_reason(error)}); {mend}"
            )
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _serve(self) -> None:
        from websockets.asyncio.server import serve

        async with serve(
            self._attend,
            self._access.host,
            self.port,
            process_request=self._admit,
            compression=None,
            max_size=MESSAGE_BYTES,
            max_queue=4,
            write_limit=1 << 16,
            open_timeout=_OPEN_SECONDS,
            close_timeout=1,
            server_header=None,
            logger=_refusals,
        ) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            self._ready.set()
            beating = asyncio.create_task(self._beat())
            closing = asyncio.create_task(self._closing.wait())
            await asyncio.wait((beating, closing), return_when=asyncio.FIRST_COMPLETED)
            closing.cancel()
            beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        if not beating.cancelled():
            await beating  # it never ends by itself: this raises what went wrong

    def _admit(self, connection: "ServerConnection", request: "Request") -> "Response | None":
        """Answer requests for the page, let those for the socket pass, refuse the rest."""
        path = request.path.partition("?")[0]
        opens_socket = path == "/socket"
        if getattr(request, "method", "GET") != "GET":  # older websockets refuse the others themselves
            return connection.respond(HTTPStatus.METHOD_NOT_ALLOWED, "there is nothing to do here\n")
        if not opens_socket and path != "/":
            return connection.respond(HTTPStatus.NOT_FOUND, "there is nothing here but the page\n")
        if refusal := self._access.refusal(request.path, _Headers(request.headers), opens_socket):
            return connection.respond(HTTPStatus.FORBIDDEN, refusal + "\n")
        if opens_socket:
            return None
        response = connection.respond(HTTPStatus.OK, "")
        response.body = self._content.page
        for name in ("Content-Type", "Content-Length"):
            del response.headers[name]
        response.headers.update({**_HEADERS, "Content-Length": str(len(self._content.page))})
        return response

    async def _attend(self, connection: "ServerConnection") -> None:
        """Serve one client to its end."""
        if len(self._clients) >= CLIENTS:  # here and not in `_admit`: why its socket was refused, a page cannot read
            await connection.close(_TRY_AGAIN, f"{CLIENTS} pages are open already; waiting for one to be closed")
            return
        client = _Client(self._content)
        self._clients.add(client)
        self._watched.set()
        tasks = [asyncio.create_task(work(client, connection)) for work in (self._receive, self._send)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._clients.discard(client)
            if not self._clients:
                self._watched.clear()
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, self._closed_by_peer):
                    _log.error("dropped a page because of a bug", exc_info=outcome)

    async def _send(self, client: "_Client", connection: "ServerConnection") -> None:
        while True:
            await connection.send(json.dumps(await client.next(), separators=(",", ":"), allow_nan=False))

    async def _receive(self, client: "_Client", connection: "ServerConnection") -> None:
        credit, then = float(_BURST), self._loop.time()
        async for text in connection:
            now = self._loop.time()
            credit = min(credit + (now - then) * _MESSAGES_A_SECOND, _BURST) - 1
            then = now
            if credit < 0:  # nobody reads on meanwhile, so the sender's own network holds it back
                await asyncio.sleep(-credit / _MESSAGES_A_SECOND)
            if answer := await asyncio.to_thread(self._answer, text):
                client.put(answer)

    def _answer(self, text: str | bytes) -> Message | None:
        try:
            return self._content.answer(_parsed(text))
        except (DanceError, OSError) as error:
            return {"type": "error", "text": str(error)}

    async def _beat(self) -> None:
        due = self._loop.time()
        while True:
            await self._watched.wait()
            self._broadcast(self._content.beat())
            due = max(due + 1 / FRAMES_A_SECOND, self._loop.time())
            await asyncio.sleep(due - self._loop.time())

    def _broadcast(self, messages: list[Message]) -> None:
        for client in self._clients:
            for message in messages:
                client.put(message)


class _Client:
    """What is still to be sent to one page. Who is too slow loses it all, and is greeted anew."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._waiting: list[Message] = content.greet()
        self._missed = 0
        self._news = asyncio.Event()
        self._news.set()

    def put(self, message: Message) -> None:
        if len(self._waiting) >= _BACKLOG:
            self._missed += len(self._waiting)
            self._waiting = [*self._content.greet(), {"type": "missed", "count": self._missed}]
        self._waiting.append(message)
        self._news.set()

    async def next(self) -> Message:
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        return self._waiting.pop(0)


class _Headers(Mapping[str, str]):
    """Headers of which one that is given twice counts as missing, where `Headers` raises."""

    def __init__(self, headers: Any) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        values = self._headers.get_all(name)
        if len(values) != 1:
            raise KeyError(name)
        return str(values[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


def _parsed(text: str | bytes) -> Message:
    """Return the JSON object in a message."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise SpecError("a message must be JSON") from None
    if not isinstance(message, dict):
        raise SpecError("a message must be a JSON object")
    return message
