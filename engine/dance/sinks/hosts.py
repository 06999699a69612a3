"""Addresses of devices in the network.

Contents
--------
look_up
"""

import re
import socket
from typing import Any

from ..errors import AbsentError, SinkError, os_reason

_MAY_BE_A_HOST = re.compile(r"[\w.:%-]+")


def look_up(host: str, port: int, protocol: str) -> tuple[socket.AddressFamily, Any]:
    """Return family and address to which datagrams for this host are sent; `protocol` is for the error's words.

    Raises
    ------
    AbsentError
        If the host is not known now.
    SinkError
        If it cannot be a host.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except (OSError, UnicodeError) as error:
        wait = isinstance(error, OSError) and _MAY_BE_A_HOST.fullmatch(host)
        raise (AbsentError if wait else SinkError)(f"no host {host} for {protocol} ({os_reason(error)})") from None
    return family, address
