"""Where in the network a device is.

Contents
--------
look_up
"""

import re
import socket
from typing import Any

from ..errors import AbsentError, SinkError, reason

_MAY_BE_A_HOST = re.compile(r"[\w.:%-]+")


def look_up(host: str, port: int, protocol: str) -> tuple[socket.AddressFamily, Any]:
    """Return family and address to which datagrams for this host are sent; `protocol` is for the error's words.

    Raises
    ------
    AbsentError
        If nobody knows the host now.
    SinkError
        If it can be none.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except (OSError, UnicodeError) as error:
        wait = isinstance(error, OSError) and _MAY_BE_A_HOST.fullmatch(host)
        raise (AbsentError if wait else SinkError)(f"no host {host} for {protocol} ({reason(error)})") from None
    return family, address
