# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import select
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.ipvs_lab import switch

BROADCAST = b"\xff" * 6
MACS = {name: bytes([2, 0, 0, 0, 0, number]) for number, name in enumerate(("one", "two", "three"), 1)}


class Bench:
    """A switch with one segment of three nodes, driven step by step."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.switch = switch.Switch(directory, {"lan": list(MACS)})
        self.segment = self.switch.segments["lan"]
        self.nodes = {name: self.plug(name) for name in MACS}

    def plug(self, name: str) -> socket.socket:
        node = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        node.bind(str(switch.port_socket(self.directory, "lan", name)))
        node.setblocking(False)
        return node

    def send(self, source: str, destination: bytes, payload: bytes = b"") -> bytes:
        frame = destination + MACS[source] + b"\x08\x00" + payload
        self.nodes[source].sendto(frame, str(switch.segment_socket(self.directory, "lan")))
        self.switch.step(0)
        return frame

    def received(self) -> dict[str, list[bytes]]:
        frames: dict[str, list[bytes]] = {}
        for name, node in self.nodes.items():
            while select.select([node], [], [], 0)[0]:
                frames.setdefault(name, []).append(node.recv(65536))
        return frames


@pytest.fixture
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # the paths of sockets must be short
        bench = Bench(Path(name))
        yield bench
        for node in bench.nodes.values():
            node.close()


def test_unknown_and_group_addresses_reach_all_others(bench: Bench) -> None:
    for destination in (BROADCAST, MACS["three"]):
        frame = bench.send("one", destination)
        assert bench.received() == {"two": [frame], "three": [frame]}


def test_learned_address_reaches_only_its_port(bench: Bench) -> None:
    bench.send("two", BROADCAST)
    bench.received()
    frame = bench.send("one", MACS["two"])
    assert bench.received() == {"two": [frame]}


def test_address_that_moves_is_learned_anew(bench: Bench) -> None:
    bench.send("two", BROADCAST)
    moved = BROADCAST + MACS["two"] + b"\x08\x00"
    bench.nodes["three"].sendto(moved, str(switch.segment_socket(bench.directory, "lan")))
    bench.switch.step(0)
    bench.received()
    frame = bench.send("one", MACS["two"])
    assert bench.received() == {"three": [frame]}


def test_cut_port_neither_sends_nor_receives(bench: Bench) -> None:
    bench.segment.set_port("two", up=False)
    bench.send("two", BROADCAST)
    assert bench.received() == {}
    frame = bench.send("one", BROADCAST)
    assert bench.received() == {"three": [frame]}
    bench.segment.set_port("two", up=True)
    frame = bench.send("one", BROADCAST)
    assert bench.received() == {"two": [frame], "three": [frame]}


def test_what_was_learned_of_a_cut_port_is_forgotten(bench: Bench) -> None:
    bench.send("two", BROADCAST)
    bench.segment.set_port("two", up=False)
    bench.received()
    frame = bench.send("one", MACS["two"])
    assert bench.received() == {"three": [frame]}


def test_slow_node_gets_all_frames_in_order(bench: Bench) -> None:
    frames = [bench.send("one", BROADCAST, struct.pack(">I", number)) for number in range(200)]
    got: list[bytes] = []
    for dummy in frames:
        got += bench.received().get("two", [])
        bench.switch.step(0)
    assert got == frames


def test_node_that_does_not_read_loses_the_newest(bench: Bench) -> None:
    for dummy in range(switch.QUEUE + 100):
        bench.send("one", BROADCAST)
    assert 0 < bench.segment.state()["ports"]["two"]["dropped"] < 100


def test_restarted_node_is_reached_again(bench: Bench) -> None:
    bench.send("one", BROADCAST)
    bench.nodes["two"].close()
    bench.send("one", BROADCAST)
    switch.port_socket(bench.directory, "lan", "two").unlink()
    bench.nodes["two"] = bench.plug("two")
    bench.received()
    frame = bench.send("one", BROADCAST)
    assert bench.received()["two"] == [frame]


def test_capture_holds_the_frames_between_start_and_stop(bench: Bench) -> None:
    path = bench.directory / "lan.pcap"
    bench.send("one", BROADCAST, b"before")
    bench.segment.start_capture(path)
    frame = bench.send("one", BROADCAST, b"between")
    content = path.read_bytes()  # complete while it goes on
    bench.segment.stop_capture()
    bench.send("one", BROADCAST, b"after")
    assert path.read_bytes() == content
    assert content[:24] == switch.PCAP_HEADER
    captured, original = struct.unpack_from("<II", content, 32)
    assert (captured, original) == (len(frame), len(frame))
    assert content[40:] == frame


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ({"command": "port", "segment": "lan", "node": "two", "up": False}, b'"two": {"up": false'),
        ({"command": "state"}, b'"two": {"up": true'),
        ({"command": "port", "segment": "wan", "node": "two", "up": False}, b'"error"'),
        ({"command": "capture", "segment": "lan", "file": "/nowhere/x"}, b'"error"'),
    ],
)
def test_command_over_the_control_socket(bench: Bench, command: dict[str, object], expected: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(switch.control_socket(bench.directory)))
        connection.sendall(json.dumps(command).encode() + b"\n")
        bench.switch.step(0)
        assert expected in connection.recv(65536)
