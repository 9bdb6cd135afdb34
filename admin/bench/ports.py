"""Ports for a network that lives as long as a measurement."""

import socket


def find_free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
