# SPDX-License-Identifier: GPL-3.0-or-later
"""The segments of a lab: one process with a learning switch per segment, over unix datagram sockets.

A node's network card is ``-netdev dgram``: QEMU sends each frame as one datagram to the segment's socket and receives
on its own, whose path is the identity of the port. Commands come as one JSON object per line over a stream socket.

Run as ``python3 switch.py DIRECTORY SEGMENT=NODE,NODE...`` (stdlib only, no other module of the package).
"""

from __future__ import annotations

import collections
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

BATCH = 64  # frames read from one segment before the others have their turn
QUEUE = 1000  # frames kept for a node that is slow to read
BUFFER = 4 << 20  # bytes
MAX_FRAME = 65536
BROADCAST_BIT = 0x01  # of the first byte of a hardware address: a group of receivers (IEEE 802)
PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, MAX_FRAME, 1)  # pcap-savefile(5), Ethernet


def segment_socket(directory: Path, segment: str) -> Path:
    """Where the nodes of *segment* send their frames."""
    return directory / f"{segment}.sw"


def port_socket(directory: Path, segment: str, node: str) -> Path:
    """Where *node* receives the frames of *segment*."""
    return directory / f"{segment}.{node}.port"


def control_socket(directory: Path) -> Path:
    return directory / "switch.control"


def pid_file(directory: Path) -> Path:
    return directory / "switch.pid"


class Port:
    """One node's connection to a segment."""

    def __init__(self, path: Path, selector: selectors.BaseSelector) -> None:
        self.path = path
        self.up = True
        self.dropped = 0
        self._selector = selector
        self._queue: collections.deque[bytes] = collections.deque()
        self._socket: socket.socket | None = None

    def send(self, frame: bytes) -> None:
        """Send *frame*, or keep it while the node does not read; the newest is dropped when too many are kept."""
        if self._queue:
            if len(self._queue) < QUEUE:
                self._queue.append(frame)
            else:
                self.dropped += 1
        elif not self._transmit(frame) and self._socket:
            self._queue.append(frame)
            # a connected datagram socket is writable when its peer has room
            self._selector.register(self._socket, selectors.EVENT_WRITE, self.flush)

    def flush(self) -> None:
        while self._queue and self._transmit(self._queue[0]):
            if self._queue:
                self._queue.popleft()
        if not self._queue and self._socket:
            self._selector.unregister(self._socket)

    def _transmit(self, frame: bytes) -> bool:
        """Send at once; return False when the node has no room. A node that is not there loses the frame."""
        try:
            if not self._socket:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
                self._socket.connect(str(self.path))
            self._socket.send(frame)
        except BlockingIOError:
            return False
        except OSError:
            self.disconnect()
            self.dropped += 1
        return True

    def disconnect(self) -> None:
        if self._queue and self._socket:
            self._selector.unregister(self._socket)
        self._queue.clear()
        if self._socket:
            self._socket.close()
        self._socket = None


class Segment:
    """A learning switch; may write what passes to a pcap file."""

    def __init__(self, directory: Path, name: str, nodes: Iterable[str], selector: selectors.BaseSelector) -> None:
        self.name = name
        self.ports = {node: Port(port_socket(directory, name, node), selector) for node in nodes}
        self.frames = 0
        self._by_path = {str(port.path): port for port in self.ports.values()}
        self._learned: dict[bytes, Port] = {}
        self._capture: BinaryIO | None = None
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        self.socket.bind(str(segment_socket(directory, name)))
        selector.register(self.socket, selectors.EVENT_READ, self.receive)

    def receive(self) -> None:
        for dummy in range(BATCH):
            try:
                frame, path = self.socket.recvfrom(MAX_FRAME)
            except BlockingIOError:
                break
            source = self._by_path.get(path)
            if source and source.up and len(frame) >= 14:
                self.forward(frame, source)
        if self._capture:
            self._capture.flush()

    def forward(self, frame: bytes, source: Port) -> None:
        self.frames += 1
        self._learned[frame[6:12]] = source
        if self._capture:
            seconds, nanoseconds = divmod(time.time_ns(), 10**9)
            self._capture.write(struct.pack("<IIII", seconds, nanoseconds // 1000, len(frame), len(frame)) + frame)
        known = None if frame[0] & BROADCAST_BIT else self._learned.get(frame[:6])
        for port in [known] if known else self.ports.values():
            if port is not source and port.up:
                port.send(frame)

    def set_port(self, node: str, up: bool) -> None:
        """Plug the node's cable in or out. What the segment learned of a port that is cut is forgotten."""
        port = self.ports[node]
        port.up = up
        if not up:
            port.disconnect()
            self._learned = {address: other for address, other in self._learned.items() if other is not port}

    def start_capture(self, path: Path) -> None:
        self.stop_capture()
        self._capture = path.open("wb")
        self._capture.write(PCAP_HEADER)
        self._capture.flush()

    def stop_capture(self) -> None:
        if self._capture:
            self._capture.close()
        self._capture = None

    def state(self) -> dict[str, Any]:
        return {
            "frames": self.frames,
            "capture": self._capture.name if self._capture else None,
            "ports": {node: {"up": port.up, "dropped": port.dropped} for node, port in self.ports.items()},
        }


class Switch:
    """All segments of a lab and the socket that takes commands."""

    def __init__(self, directory: Path, segments: Mapping[str, Iterable[str]]) -> None:
        self._selector = selectors.DefaultSelector()
        self.segments = {name: Segment(directory, name, nodes, self._selector) for name, nodes in segments.items()}
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._control.bind(str(control_socket(directory)))
        self._control.listen(16)
        self._selector.register(self._control, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        connection = self._control.accept()[0]
        with connection, connection.makefile("rwb") as stream:
            connection.settimeout(5)
            try:
                answer = self.command(json.loads(stream.readline()))
            except (KeyError, ValueError, OSError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            try:
                stream.write(json.dumps(answer).encode() + b"\n")
                stream.flush()
            except OSError:
                return  # the one who asked has gone

    def command(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one command: ``capture`` (segment, file or null), ``port`` (segment, node, up) or ``state``."""
        actions: dict[str, Callable[[], None]] = {
            "capture": lambda: self._set_capture(self.segments[request["segment"]], request["file"]),
            "port": lambda: self.segments[request["segment"]].set_port(request["node"], request["up"]),
            "state": lambda: None,
        }
        actions[request["command"]]()
        return {name: segment.state() for name, segment in self.segments.items()}

    @staticmethod
    def _set_capture(segment: Segment, path: str | None) -> None:
        if path is None:
            segment.stop_capture()
        else:
            segment.start_capture(Path(path))

    def step(self, timeout: float | None = None) -> None:
        """Handle what is ready; wait at most *timeout* seconds for it."""
        for key, dummy in self._selector.select(timeout):
            key.data()


def request(directory: Path, **command: object) -> dict[str, Any]:
    """Send one command to the switch of the lab in *directory* and return the state of its segments.

    :raises OSError: The switch does not run, or refuses the command.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(control_socket(directory)))
        with connection.makefile("rwb") as stream:
            stream.write(json.dumps(command).encode() + b"\n")
            stream.flush()
            answer: dict[str, Any] = json.loads(stream.readline())
    if "error" in answer:
        raise OSError(answer["error"])
    return answer


def main(words: list[str]) -> None:
    directory = Path(words[0])
    segments = {name: nodes.split(",") for name, nodes in (word.split("=") for word in words[1:])}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pid_file(directory).write_text(f"{os.getpid()}\n")
    switch = Switch(directory, segments)
    while True:
        switch.step()


if __name__ == "__main__":
    main(sys.argv[1:])
