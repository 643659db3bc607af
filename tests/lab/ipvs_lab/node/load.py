# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens connections to a virtual service and counts who answered; prints one JSON object.

    l4lb-load 192.0.2.10:443 --count 300 --first-source-port 20000
    l4lb-load [2001:db8::10]:80 --rate 200 --duration 10

Without --rate the connections follow one another. Each sends an HTTP request and waits for the end of the answer of
l4lb-serve; with --udp it is one datagram each way.
"""

from __future__ import annotations

import argparse
import collections
import errno
import heapq
import json
import resource
import select
import socket
import sys
import time

REQUEST = b"GET / HTTP/1.0\r\n\r\n"


def endpoint(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDRESS:PORT or [ADDRESS]:PORT")
    return host.strip("[]"), int(port)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Open connections and count who answered.")
    parser.add_argument("target", type=endpoint, metavar="ADDRESS:PORT")
    protocol = parser.add_mutually_exclusive_group()
    protocol.add_argument("--udp", action="store_true", help="datagrams instead of TCP connections")
    protocol.add_argument("--sctp", action="store_true", help="SCTP associations instead of TCP connections")
    parser.add_argument("--count", type=int, help="how many connections; default 1, or what --rate and --duration give")
    parser.add_argument("--rate", type=float, help="connections started per second; default: one after the other")
    parser.add_argument("--duration", type=float, help="seconds after which no connection is started any more")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds one connection may take (%(default)s)")
    parser.add_argument("--source", default="", help="source address")
    parser.add_argument("--first-source-port", type=int, default=0, help="source port of the first connection")
    parser.add_argument("--source-ports", type=int, help="how many source ports to go through; default: --count")
    options = parser.parse_args()
    if options.count is None:
        options.count = sys.maxsize if options.duration else 1
    if options.source_ports is None:
        options.source_ports = options.count
    if options.first_source_port and options.first_source_port + options.source_ports > 65536:
        parser.error("the source ports end at 65535: give --source-ports or --count")
    return options


class Connection:
    """One connection on its way: connecting, then reading."""

    __slots__ = ("asked", "data", "deadline", "number", "port", "sock", "started")

    def __init__(self, number: int, port: int, now: float, timeout: float) -> None:
        self.number = number
        self.port = port
        self.started = now
        self.deadline = now + timeout
        self.asked = False
        self.data = b""
        self.sock: socket.socket | None = None


class Load:
    """One epoll loop that starts connections when they are due and counts how they end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.family = socket.AF_INET6 if ":" in options.target[0] else socket.AF_INET
        self.kind = socket.SOCK_DGRAM if options.udp else socket.SOCK_STREAM
        self.protocol = socket.IPPROTO_SCTP if options.sctp else 0
        self.epoll = select.epoll()
        self.active: dict[int, Connection] = {}
        self.waiting: list[tuple[float, int, Connection]] = []  # their source port is still in use
        self.answers: collections.Counter[str] = collections.Counter()
        self.client_seen: collections.Counter[str] = collections.Counter()
        self.errors: collections.Counter[str] = collections.Counter()
        self.by_port: dict[int, collections.Counter[str]] = {}
        self.slowest = 0.0

    def open(self, connection: Connection, now: float) -> None:
        sock = socket.socket(self.family, self.kind, self.protocol)
        sock.setblocking(False)
        try:
            if self.options.source or connection.port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((self.options.source, connection.port))
            sock.connect(self.options.target)
        except BlockingIOError:
            pass
        except OSError as error:
            sock.close()
            # the same port's previous connection is in its last exchange with the server
            if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL) and now < connection.deadline:
                heapq.heappush(self.waiting, (now + 0.01, connection.number, connection))
            else:
                self.fail(connection, error)
            return
        connection.sock, connection.deadline = sock, now + self.options.timeout
        self.active[sock.fileno()] = connection
        self.epoll.register(sock, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def advance(self, descriptor: int) -> None:
        connection = self.active[descriptor]
        sock = connection.sock
        if sock is None:
            return
        try:
            if not connection.asked:
                connection.asked = True
                if not connection.port:
                    connection.port = sock.getsockname()[1]
                sock.send(REQUEST)
                return
            data = sock.recv(4096)
            connection.data += data
            while data and self.kind == socket.SOCK_STREAM:
                data = sock.recv(4096)
                connection.data += data
        except BlockingIOError:
            return
        except OSError as error:
            self.forget(descriptor)
            self.fail(connection, error)
            return
        self.forget(descriptor)
        self.finish(connection)

    def forget(self, descriptor: int) -> None:
        sock = self.active.pop(descriptor).sock
        if sock is not None:
            sock.close()

    def fail(self, connection: Connection, reason: OSError | str) -> None:
        text = reason if isinstance(reason, str) else errno.errorcode.get(reason.errno or 0, str(reason))
        self.errors[text] += 1
        if connection.port:
            self.by_port.setdefault(connection.port, collections.Counter())["failed"] += 1

    def finish(self, connection: Connection) -> None:
        words = connection.data.rpartition(b"\r\n")[2].decode(errors="replace").split()
        if len(words) != 2:
            self.fail(connection, "incomplete answer")
            return
        name, client = words
        self.answers[name] += 1
        self.client_seen[client] += 1
        self.by_port.setdefault(connection.port, collections.Counter())[name] += 1
        self.slowest = max(self.slowest, time.monotonic() - connection.started)

    def expire(self, now: float) -> None:
        while self.active:
            descriptor, connection = next(iter(self.active.items()))  # they are in the order of their start
            if connection.deadline > now:
                break
            self.forget(descriptor)
            self.fail(connection, "timeout")

    def run(self) -> dict[str, object]:
        options = self.options
        begin = time.monotonic()
        end = begin + options.duration if options.duration else float("inf")
        started = 0
        while True:
            now = time.monotonic()
            due = begin + started / options.rate if options.rate else begin
            more = started < options.count and max(now, due) < end
            idle = not self.active and not self.waiting
            if more and (now >= due if options.rate else idle):
                port = options.first_source_port and options.first_source_port + started % options.source_ports
                self.open(Connection(started, port, now, options.timeout), now)
                started += 1
            elif idle and not more:
                break
            while self.waiting and self.waiting[0][0] <= now:
                self.open(heapq.heappop(self.waiting)[2], now)
            # those on their way have their turn before the next one is started, however late that is
            wake = [begin + started / options.rate] if more and options.rate else []
            wake += [self.waiting[0][0]] if self.waiting else []
            wake += [next(iter(self.active.values())).deadline] if self.active else []
            for descriptor, dummy in self.epoll.poll(max(0.0, min(wake, default=now) - now)):
                if descriptor in self.active:
                    self.advance(descriptor)
            self.expire(time.monotonic())
        return {
            "started": started,
            "answers": dict(sorted(self.answers.items())),
            "failures": sum(self.errors.values()),
            "errors": dict(sorted(self.errors.items())),
            "client_seen": dict(sorted(self.client_seen.items())),
            "by_source_port": {str(port): dict(counts) for port, counts in sorted(self.by_port.items())},
            "seconds": round(time.monotonic() - begin, 3),
            "slowest": round(self.slowest, 3),
        }


def main() -> int:
    options = arguments()
    dummy, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    result = Load(options).run()
    print(json.dumps(result))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
