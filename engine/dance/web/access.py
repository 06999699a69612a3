"""Who may see the page: this machine alone, or whoever knows the token.

A page of somebody else's that is open in the same browser is the danger on loopback: it may send requests there. It
cannot read an answer of another origin, but it may open a WebSocket (hence the check of ``Origin``) and it may own a
name that is made to point here (DNS rebinding; hence the check of ``Host``: an address cannot be rebound).

Contents
--------
Access
"""

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import parse_qs, quote, urlsplit

from ..errors import SpecError

_SHORTEST_TOKEN = 8


class Access:
    """What a request must bring.

    Parameters
    ----------
    host : str
        Address to listen on. Anything but loopback needs a token.
    token : str, optional
        Given by the user, so that a phone finds the page again after a restart; else made up when one is needed.

    Raises
    ------
    SpecError
        If the token is too short to be one.
    """

    def __init__(self, host: str, token: str | None = None) -> None:
        if token is not None and len(token) < _SHORTEST_TOKEN:
            raise SpecError(f"a token needs {_SHORTEST_TOKEN} characters or more; leave it out, and one is made up")
        self.host = host
        self.token = token or (None if _is_loopback(host) else _made_up())
        self._names = {"localhost", *_own_names()}

    def url(self, port: int, *, scheme: str = "http", path: str = "/") -> str:
        """Return the address to open, token included."""
        host = _reachable(self.host)
        host = f"[{host}]" if ":" in host else host
        return f"{scheme}://{host}:{port}{path}" + (f"?token={quote(self.token)}" if self.token else "")

    def refusal(self, target: str, headers: Mapping[str, str], opens_socket: bool) -> str | None:
        """Return why a request is refused, or None if it may pass.

        Parameters
        ----------
        target : str
            Path and query of the request.
        headers : mapping
        opens_socket : bool
            True for a WebSocket, which has to come from our own page.
        """
        host = headers.get("Host", "")
        if not self._is_ours(host):
            return "open this page by address (or as localhost), not by another name"
        if opens_socket and headers.get("Origin") != f"http://{host}":
            return "only the monitor's own page may connect"
        if self.token:
            import hmac  # brings OpenSSL, 4 MB, which commands that show no page do without

            given = parse_qs(urlsplit(target).query).get("token", [""])[0]
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return "open the address that dance printed at its start: it ends in ?token=..."
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        return name in self._names or _is_address(name)


def _made_up() -> str:
    import secrets  # see `hmac` above

    return secrets.token_urlsafe(9)


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    return {name, f"{name}.local"}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _reachable(host: str) -> str:
    """Return an address that others can open: for "every interface", this machine's own in the network."""
    if not (_is_address(host) and ipaddress.ip_address(host).is_unspecified):
        return host
    # A datagram socket that is connected sends nothing; it only learns which of our addresses would be used.
    family, far = (socket.AF_INET6, "2001:db8::1") if ":" in host else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((far, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
