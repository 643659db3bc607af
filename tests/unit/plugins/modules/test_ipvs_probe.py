# SPDX-License-Identifier: GPL-3.0-or-later
"""Real connections to servers on this machine's loopback."""

from __future__ import annotations

import contextlib
import errno
import resource
import socket
import threading
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from plugins.module_utils import _probe
from plugins.modules import ipvs_probe

Run = Callable[..., dict[str, Any]]


class Server:
    """Answers on a free port of the loopback, one connection after the other, by ``talk(connection, number)``."""

    def __init__(self, talk: Callable[[socket.socket, int], None], family: int = socket.AF_INET) -> None:
        self.ports: list[int] = []
        self.talk = talk
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # the end of the listener is the end of the test
            while True:
                connection, peer = self.listener.accept()
                self.ports.append(peer[1])
                with connection, contextlib.suppress(ConnectionError):
                    self.talk(connection, len(self.ports) - 1)

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """serve(talk) -> a running server, stopped after the test."""
    servers: list[Server] = []

    def start(talk: Callable[[socket.socket, int], None], family: int = socket.AF_INET) -> Server:
        servers.append(Server(talk, family))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def in_turn(connection: socket.socket, number: int) -> None:
    connection.sendall(f"hello, this is s{number % 2}\n".encode())


@pytest.fixture
def ask(run_main: Run) -> Run:
    def asking(*targets: object, **options: Any) -> dict[str, Any]:
        return run_main(ipvs_probe.main, {"targets": list(targets)}, **options)

    return asking


def target(server: Server, **more: Any) -> dict[str, Any]:
    return {"address": "127.0.0.1", "port": server.port, "pattern": r"\bs\d", **more}


def test_it_tells_who_answered_how_often(serve: Callable[..., Server], ask: Run) -> None:
    server = serve(in_turn)
    result = ask(target(server, count=6, name="web"))
    assert result["changed"] is False
    assert result["targets"] == [
        {
            "name": "web",
            "address": "127.0.0.1",
            "port": server.port,
            "protocol": "tcp",
            "attempts": 6,
            "answers": {"s0": 3, "s1": 3},
            "failures": {},
            "by_port": {},
        }
    ]


def test_the_first_group_of_the_pattern_is_the_name(serve: Callable[..., Server], ask: Run) -> None:
    (found,) = ask(target(serve(in_turn), pattern=r"this (\w+) (s\d)"))["targets"]
    assert found["answers"] == {"is": 1}


def test_an_answer_in_pieces_is_put_together(serve: Callable[..., Server], ask: Run) -> None:
    def hesitate(connection: socket.socket, dummy: int) -> None:
        connection.sendall(b"this is s")
        connection.recv(1)  # nothing is sent, so this waits for the client to give up or to close
        connection.sendall(b"7")

    def two_pieces(connection: socket.socket, dummy: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"this is ")
        connection.sendall(b"s7")

    assert ask(target(serve(two_pieces)))["targets"][0]["answers"] == {"s7": 1}
    assert ask(target(serve(hesitate), timeout=1))["targets"][0]["failures"] == {"timed out": 1}


def test_it_sends_first_where_asked_to(serve: Callable[..., Server], ask: Run) -> None:
    def echo(connection: socket.socket, dummy: int) -> None:
        connection.sendall(connection.recv(100))

    assert ask(target(serve(echo), send="I am s5"))["targets"][0]["answers"] == {"s5": 1}


def test_without_a_pattern_a_connection_is_answer_enough(serve: Callable[..., Server], ask: Run) -> None:
    asked = target(serve(lambda connection, dummy: None))
    del asked["pattern"]
    assert ask(asked)["targets"][0]["answers"] == {"connected": 1}


def test_answers_are_told_by_source_port(serve: Callable[..., Server], ask: Run) -> None:
    server = serve(in_turn)
    (found,) = ask(target(server, source_port=23450, count=3, repeat=2))["targets"]
    assert found["by_port"] == {"23450": ["s0", "s1"], "23451": ["s1", "s0"], "23452": ["s0", "s1"]}
    assert server.ports[:6] == [23450, 23451, 23452] * 2


@pytest.mark.parametrize(("hard", "asked"), [(4096, 4096), (resource.RLIM_INFINITY, 65536)])
def test_files_are_no_reason_to_fail(ask: Run, monkeypatch: pytest.MonkeyPatch, hard: int, asked: int) -> None:
    """As with fs.nr_open below the limit of the process."""
    given = []

    def refuse(dummy: int, limits: tuple[int, int]) -> None:
        given.append(limits)
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda dummy: (256, hard))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    (found,) = ask({"address": "127.0.0.1", "port": closed_port(), "count": 2, "together": True})["targets"]
    assert found["attempts"] == 2
    assert given == [(asked, hard)]


def test_connections_are_held_open_together(serve: Callable[..., Server], ask: Run) -> None:
    def one_for_all(connection: socket.socket, dummy: int) -> None:
        """Answers only once all three are there, each as far as none has ended."""
        everybody = [connection, *(server.listener.accept()[0] for dummy in range(2))]
        for number, one in enumerate(everybody):
            one.recv(1)
            with contextlib.suppress(BlockingIOError):
                assert everybody[0].recv(1, socket.MSG_DONTWAIT), "the first has ended"
            one.sendall(f"s{number}".encode())
        for one in everybody:
            one.close()

    server = serve(one_for_all)
    asked = target(server, count=3, send="?", together=True, source_port=23460, timeout=2)
    (found,) = ask(asked)["targets"]
    assert (found["answers"], found["failures"]) == ({"s0": 1, "s1": 1, "s2": 1}, {})
    assert found["by_port"] == {"23460": ["s0"], "23461": ["s1"], "23462": ["s2"]}


def test_a_source_address_is_used(serve: Callable[..., Server], ask: Run) -> None:
    def peer(connection: socket.socket, dummy: int) -> None:
        connection.sendall(connection.getpeername()[0].encode())

    asked = target(serve(peer), source_address="127.0.0.9", pattern=r"\S+")
    assert ask(asked)["targets"][0]["answers"] == {"127.0.0.9": 1}


def test_ipv6_is_asked(serve: Callable[..., Server], ask: Run) -> None:
    server = serve(in_turn, family=socket.AF_INET6)
    assert ask(target(server, address="::1"))["targets"][0]["answers"] == {"s0": 1}


def test_udp_is_asked_and_answers(ask: Run) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)

        def answer() -> None:
            for dummy in range(2):
                question, peer = server.recvfrom(100)
                server.sendto(question + b" s3", peer)

        thread = threading.Thread(target=answer)
        thread.start()
        asked = {"address": "127.0.0.1", "port": server.getsockname()[1], "protocol": "udp", "send": "hi", "count": 2}
        assert ask({**asked, "pattern": r"hi (\S+)"})["targets"][0]["answers"] == {"s3": 2}
        thread.join(5)
        assert ask(asked)["targets"][0]["answers"] == {"sent": 2}


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("together", [False, True])
def test_failures_are_told_by_reason_and_a_dead_target_is_given_up(ask: Run, together: bool) -> None:
    (found,) = ask({"address": "127.0.0.1", "port": closed_port(), "count": 9, "together": together})["targets"]
    assert found["answers"] == {}
    assert found["failures"] == {errno.errorcode[errno.ECONNREFUSED]: 5, "not attempted": 4}


def test_one_failure_does_not_give_up_a_target(serve: Callable[..., Server], ask: Run) -> None:
    def every_other(connection: socket.socket, number: int) -> None:
        connection.sendall(b"nobody\n" if number % 2 else b"s1\n")

    (found,) = ask(target(serve(every_other), count=12))["targets"]
    assert found["answers"] == {"s1": 6}
    assert found["failures"] == {"answer without the pattern: 'nobody\\n'": 6}


def test_an_answer_of_nothing_is_told(serve: Callable[..., Server], ask: Run) -> None:
    (found,) = ask(target(serve(lambda connection, dummy: None)))["targets"]
    assert found["failures"] == {"closed without an answer": 1}


def test_targets_come_back_in_order(serve: Callable[..., Server], ask: Run) -> None:
    server = serve(in_turn)
    found = ask(*(target(server, name=f"t{i}") for i in range(20)))["targets"]
    assert [one["name"] for one in found] == [f"t{i}" for i in range(20)]
    assert sum(one["answers"].get("s0", 0) + one["answers"].get("s1", 0) for one in found) == 20


def test_nothing_is_sent_in_check_mode(monkeypatch: pytest.MonkeyPatch, ask: Run) -> None:
    monkeypatch.setattr(_probe, "ask", lambda dummy: pytest.fail("asked"))
    result = ask({"address": "127.0.0.1", "port": 1}, check=True)
    assert (result["failed"], result["skipped"], result["changed"]) == (False, True, False)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"port": 1}, "targets[0].address: is required"),
        ({"address": "192.0.2.1"}, "targets[0].port: is required"),
        ({"address": "web1", "port": 1}, "targets[0].address: must be an IP address; host names are not resolved"),
        ({"address": "192.0.2.1", "port": 0}, "targets[0].port: must be an integer 1..65535 (got 0)"),
        ({"address": "192.0.2.1", "port": 1, "wait": 1}, "targets[0].wait: unknown key"),
        ({"address": "192.0.2.1", "port": 1, "pattern": "("}, "targets[0].pattern: must be a regular expression"),
        ({"address": "192.0.2.1", "port": 1, "send": 7}, "targets[0].send: must be a string (got 7)"),
        ({"address": "192.0.2.1", "port": 1, "send": "x" * 65537}, "targets[0].send: must have at most 65536"),
        ({"address": "192.0.2.1", "port": 1, "count": 0}, "targets[0].count: must be an integer 1..100000 (got 0)"),
        (
            {"address": "192.0.2.1", "port": 1, "source_port": 65535, "count": 2},
            "targets[0].count: leads beyond port 65535 from source_port 65535 (got 2)",
        ),
        (
            {"address": "192.0.2.1", "port": 1, "repeat": 1000, "count": 1000},
            "targets[0].repeat: times count must be at most 100000 (got 1000)",
        ),
        (
            {"address": "192.0.2.1", "port": 1, "source_port": 2000, "repeat": 2, "together": True},
            "targets[0].repeat: must be 1 with together: a source port has one connection (got 2)",
        ),
        (
            {"address": "192.0.2.1", "port": 1, "source_address": "2001:db8::1"},
            "targets[0].source_address: must be of the family of address (got '2001:db8::1')",
        ),
        (
            {"address": "192.0.2.1", "port": 1, "protocol": "udp", "pattern": "x"},
            "targets[0].send: is required with udp and pattern",
        ),
        ({"address": "192.0.2.1", "port": 1, "protocol": "icmp"}, "targets[0].protocol: must be one of tcp, udp, sctp"),
    ],
)
def test_bad_input_is_told_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, ask: Run, asked: dict[str, Any], told: str
) -> None:
    monkeypatch.setattr(_probe, "ask", lambda dummy: pytest.fail("asked"))
    result = ask(asked, {"port": 1, "address": "192.0.2.1", "name": ""})
    assert result["failed"]
    assert result["msg"].startswith(told)
    assert "targets[1].name: must not be empty" in result["msg"]
