# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers on the given ports with one line: this host's name and the client's address as it is seen here.

``l4lb-serve tcp:80 tcp:8443 udp:53 sctp:3868``. Over TCP and SCTP each line gets that line back, until the client
closes; a line that starts with GET or HEAD gets it as an HTTP response, and the connection is closed. Over UDP each
datagram gets it. For bulk data, ``GET /bytes/N`` gets N bytes, and ``POST`` gets the line once its body has arrived.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
from collections.abc import Callable

IP_PKTINFO = 8  # include/uapi/linux/in.h; Python 3.11 has no name for it
NAME = socket.gethostname()
MAX_REQUEST = 65536  # bytes of a line or of the head of an HTTP request
HTTP = (b"GET ", b"HEAD ", b"POST ")
BULK = (b"GET /bytes/", b"POST ")
BULK_PATIENCE = 60  # seconds without a byte after which a bulk transfer is given up


def answer(address: str) -> bytes:
    return f"{NAME} {address.removeprefix('::ffff:')}\n".encode()


def http(request: bytes, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (b"" if request.startswith(b"HEAD ") else body)


def transfer(sock: socket.socket, request: bytes) -> None:
    """Carry out one bulk request whose head has arrived, and close the connection."""
    head, dummy, body = request.partition(b"\r\n\r\n")
    sock.settimeout(BULK_PATIENCE)
    with sock, contextlib.suppress(OSError):
        if head.startswith(b"GET "):
            left = int(head.split()[1].rpartition(b"/")[2])
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % left)
            while left > 0:
                left -= sock.send(bytes(min(left, MAX_REQUEST)))
            return
        left = int(head.lower().partition(b"content-length:")[2].split()[0]) - len(body)
        while left > 0:
            data = sock.recv(min(left, MAX_REQUEST))
            if not data:
                return
            left -= len(data)
        sock.sendall(http(request, answer(sock.getpeername()[0])))


class Server:
    """One epoll loop over all listening sockets and connections."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[], None]] = {}
        self.open: dict[int, socket.socket] = {}

    def watch(self, sock: socket.socket, handler: Callable[[], None]) -> None:
        sock.setblocking(False)
        self.handlers[sock.fileno()] = handler
        self.open[sock.fileno()] = sock
        self.epoll.register(sock, select.EPOLLIN)

    def forget(self, sock: socket.socket) -> None:
        if sock.fileno() in self.handlers:
            del self.handlers[sock.fileno()], self.open[sock.fileno()]
            self.epoll.unregister(sock)

    def close(self, sock: socket.socket) -> None:
        self.forget(sock)
        sock.close()

    def listen_tcp(self, port: int) -> None:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listen_stream(sock, "::", port)

    def listen_sctp(self, port: int) -> None:
        """Listen with one socket per family: what is bound to several addresses tells them to the client in its INIT
        ACK, which then sends heartbeats to each, past a director, and takes the abort that comes back for its own.
        """
        self.listen_stream(socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP), "0.0.0.0", port)
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.listen_stream(sock, "::", port)

    def listen_stream(self, sock: socket.socket, host: str, port: int) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(4096)
        self.watch(sock, lambda: self.accept(sock))

    def listen_udp(self, port: int) -> None:
        """Listen with one socket per family: the answer must leave from the very address that was asked."""
        for family, host, level, option, info, interface in (
            (socket.AF_INET, "0.0.0.0", socket.IPPROTO_IP, IP_PKTINFO, IP_PKTINFO, slice(0, 4)),
            (socket.AF_INET6, "::", socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, socket.IPV6_PKTINFO, slice(16, 20)),
        ):
            sock = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(level, option, 1)
            sock.bind((host, port))
            self.watch(
                sock,
                lambda sock=sock, level=level, info=info, interface=interface: self.echo(sock, level, info, interface),  # type: ignore[misc]
            )

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            sock.setblocking(False)
            pending = bytearray()
            reply = answer(peer[0])
            # the request is often there already: then the connection is served without a look at epoll
            if self.converse(sock, pending, reply):
                self.watch(sock, lambda sock=sock, pending=pending, reply=reply: self.serve(sock, pending, reply))  # type: ignore[misc]

    def serve(self, sock: socket.socket, pending: bytearray, reply: bytes) -> None:
        self.converse(sock, pending, reply)

    def converse(self, sock: socket.socket, pending: bytearray, reply: bytes) -> bool:
        """Answer what has arrived; return whether the connection stays open."""
        try:
            data = sock.recv(MAX_REQUEST)
        except BlockingIOError:
            return True
        except OSError:
            self.close(sock)
            return False
        pending += data
        if b"\r\n\r\n" in pending and pending.startswith(HTTP):
            if pending.startswith(BULK):
                self.forget(sock)
                threading.Thread(target=transfer, args=(sock, bytes(pending)), daemon=True).start()
                return False
            # more to come: the end of the connection, which takes a packet of its own otherwise
            self.send(sock, http(bytes(pending), reply), socket.MSG_MORE)
        elif data and len(pending) < MAX_REQUEST:
            if pending.startswith(HTTP):
                return True
            lines = pending.count(b"\n")
            del pending[: pending.rfind(b"\n") + 1]
            return self.send(sock, reply * lines)
        self.close(sock)
        return False

    def send(self, sock: socket.socket, data: bytes, flags: int = 0) -> bool:
        try:
            sock.sendall(data, flags)
        except OSError:
            self.close(sock)
            return False
        return True

    def echo(self, sock: socket.socket, level: int, info: int, interface: slice) -> None:
        """Answer each datagram from the address that it came to, by whatever interface leads to the asker: it may have
        come through a tunnel. ``interface`` is where in the packet information (ip(7), ipv6(7)) its number stands.
        """
        while True:
            try:
                dummy, ancillary, dummy_flags, peer = sock.recvmsg(2048, 64)
            except BlockingIOError:
                return
            except OSError:
                continue
            source = []
            for lev, kind, data in ancillary:
                if (lev, kind) == (level, info):
                    told = bytearray(data)
                    told[interface] = bytes(4)
                    source.append((level, info, bytes(told)))
            try:
                sock.sendmsg([answer(peer[0])], source, 0, peer)
            except OSError as error:
                print(f"answer to {peer[0]}: {error}", file=sys.stderr)

    def run(self) -> None:
        while True:
            for descriptor, dummy in self.epoll.poll():
                handler = self.handlers.get(descriptor)
                if handler:
                    handler()


def ready() -> None:
    """Tell systemd that the ports are open (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"READY=1", path)


def main() -> None:
    server = Server()
    for word in sys.argv[1:]:
        protocol, dummy, port = word.partition(":")
        {"tcp": server.listen_tcp, "udp": server.listen_udp, "sctp": server.listen_sctp}[protocol](int(port))
    ready()
    server.run()


if __name__ == "__main__":
    main()
