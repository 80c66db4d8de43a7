"""The addresses that the daemon listens on."""

import errno
import socket

from daemon.errors import UnavailableError


def bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for every address of *host*; with port 0 for its first one alone, so that there is one port.

    Raises:
        UnavailableError: an address cannot be had, and why.
    """
    bound: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in found if port else found[:1]:
            one = socket.socket(family, socket.SOCK_STREAM)
            bound.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                one.bind(address)
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or len(found) == 1:
                    raise
                bound.remove(one)  # localhost is ::1 too, also on machines without IPv6
                one.close()
                continue
            one.listen(128)
    except OSError as error:
        for one in bound:
            one.close()
        raise UnavailableError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --host or --port"
        ) from error
    if not bound:
        raise UnavailableError(f"no address of {host} is one of this machine's; choose another with --host")
    return bound
