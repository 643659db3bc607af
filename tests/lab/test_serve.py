# SPDX-License-Identifier: GPL-3.0-or-later
"""The server of the lab's nodes, on loopback."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.lab.ipvs_lab.node import serve

SIZE = 4 * serve.MAX_REQUEST


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection, the server's ready for more than one reading at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * SIZE)
        with socket.create_connection(listener.getsockname()) as client:
            server, dummy = listener.accept()
            with server:
                yield client, server


def test_a_body_that_comes_along_with_the_head_is_taken(ends: tuple[socket.socket, socket.socket]) -> None:
    client, server = ends
    request = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % SIZE + bytes(SIZE)
    sender = threading.Thread(target=client.sendall, args=(request,))
    sender.start()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, serve.MAX_REQUEST)
    select.select([server], [], [])
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    serve.Server().converse(server, bytearray(), b"")
    sender.join()
    assert b"".join(iter(lambda: client.recv(4096), b"")).endswith(f"\r\n\r\n{serve.NAME} 127.0.0.1\n".encode())


@pytest.mark.parametrize("request_", [b"x" * serve.MAX_REQUEST, b"GET /" + b"x" * serve.MAX_REQUEST])
def test_a_request_without_an_end_is_not_listened_to(
    ends: tuple[socket.socket, socket.socket], request_: bytes
) -> None:
    client, server = ends
    client.sendall(b"x")
    select.select([server], [], [])
    serve.Server().converse(server, bytearray(request_), b"")
    assert server.fileno() == -1
