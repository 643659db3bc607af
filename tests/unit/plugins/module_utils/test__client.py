# SPDX-License-Identifier: GPL-3.0-or-later
"""The socket: batches, errors by sequence, time-outs and dumps that another writer tears."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any, Callable

import pytest

from plugins.module_utils import _client, _encode, _wire
from plugins.module_utils._client import Client, Written, ipvs_loaded
from plugins.module_utils._errors import Findings, Forbidden, IpvsError, KernelRefused, Unavailable
from plugins.module_utils._model import ServiceKey, Table, parse_services
from plugins.module_utils._plan import plan
from plugins.module_utils._text import table_lines
from tests.unit import fake_kernel
from tests.unit.conftest import Machine
from tests.unit.fake_kernel import Kernel

TABLE = """
    -A -t 192.0.2.10:443 -s mh -b mh-fallback,mh-port
    -a -t 192.0.2.10:443 -r 198.51.100.11:8443 -m -w 1
    -a -t 192.0.2.10:443 -r 198.51.100.12:8443 -m -w 65536 -x 100 -y 50
    -a -t 192.0.2.10:443 -r 198.51.100.13:443 -g -w 0
    -a -t 192.0.2.10:443 -r [2001:db8::14]:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
    -A -u 192.0.2.10:5060 -s rr -p 300 -M 255.255.255.0 --pe sip -o
    -A --sctp-service 192.0.2.10:0 -s wlc -p 60
    -A -t [2001:db8::10]:443 -s wlc -p 300 -M 64
    -a -t [2001:db8::10]:443 -r [2001:db8::11]:443 -i -w 1 --tun-type gre --tun-csum
    -A -f 7 -s sh -b sh-port
    -a -f 7 -r 198.51.100.11:0 -i -w 1 --tun-type ipip
    -A -f 7 -6 -s wrr -b flag-3
"""
LINES = [line.strip() for line in TABLE.strip().splitlines()]
WEB = ServiceKey(0, 2, 6, bytes((192, 0, 2, 10)), 443)


def wanted(*services: dict[str, Any]) -> Table:
    findings = Findings()
    table = parse_services(list(services), "services", findings)
    findings.raise_problems()
    return table


def requests(count: int) -> list[_wire.Request]:
    """Requests that each add one server to the web service."""
    servers = [{"address": "198.51.100.11", "port": port, "forward": "nat"} for port in range(1, count + 1)]
    table = wanted({"address": "192.0.2.10", "port": 443, "servers": servers})
    operations = plan({}, table).operations[1:]
    return [_encode.write_request(one.action, one.key, one.after) for one in operations]


# reading


def test_the_table_is_read_as_it_is(kernel: Kernel) -> None:
    kernel.restore(TABLE)
    with Client() as client:
        table = client.table()
    assert sorted(table_lines(table)) == sorted(LINES) == sorted(kernel.save())
    assert kernel.writes == []


def test_a_large_table_is_read_whole(kernel: Kernel) -> None:
    lines = [f"-A -t 192.0.2.10:{port} -s rr" for port in range(1, 31)]
    lines += [f"-a -t 192.0.2.10:7 -r 198.51.100.{last}:7 -g -w 1" for last in range(1, 31)]
    kernel.restore("\n".join(lines))
    with Client() as client:
        assert sorted(table_lines(client.table())) == sorted(lines)


def test_only_the_servers_of_wanted_services_are_read(kernel: Kernel) -> None:
    kernel.restore(TABLE)
    with Client() as client:
        table = client.table({WEB})
    assert table_lines(table) == LINES[:5]
    assert kernel.commands == ["GET_SERVICE", "GET_DEST", "GET_SERVICE"]


def test_one_entry_is_read_without_the_others(kernel: Kernel) -> None:
    kernel.restore(TABLE)
    with Client() as client:
        assert table_lines(client.entry(WEB)) == LINES[:5]
        assert client.entry(WEB._replace(port=444)) == {}
        mark = client.service(ServiceKey(7, 10, 0, b"", 0))
    assert mark is not None
    assert mark.scheduler == "wrr"


def test_a_few_entries_are_read_without_the_others(kernel: Kernel) -> None:
    kernel.restore(TABLE)
    with Client() as client:
        table = client.entries([WEB, WEB._replace(port=444)])
    assert table_lines(table) == LINES[:5]
    assert kernel.commands == ["GET_SERVICE", "GET_DEST", "GET_SERVICE", "GET_SERVICE"]


def test_many_entries_are_picked_from_the_whole(kernel: Kernel) -> None:
    kernel.restore("\n".join(f"-A -t 192.0.2.10:{port} -s rr" for port in range(1, 100)))
    keys = [WEB._replace(port=port) for port in range(1, _client.FEW + 2)]
    with Client() as client:
        assert sorted(client.entries(keys)) == keys
    assert kernel.commands.count("GET_SERVICE") < len(keys)


def test_an_empty_table_is_empty(kernel: Kernel) -> None:
    with Client() as client:
        assert client.table() == {}
        assert client.info() == ("1.2.1", 4096)


def test_statistics_are_read_on_the_way(kernel: Kernel) -> None:
    kernel.restore(TABLE)
    service = next(iter(kernel.services.values()))
    service.statistics = tuple(range(1, 11))
    server_key, server = next(iter(service.dests.items()))
    server.statistics, server.connections = tuple(range(11, 21)), (1, 2, 3)
    statistics: _client.Statistics = {}
    with Client() as client:
        table = client.table(statistics=statistics)
    assert len(statistics) == len(LINES)
    assert list(statistics[WEB, None]["counters"].values()) == [1, 2, 3, 4, 5]
    assert list(statistics[WEB, None]["rates"].values()) == [6, 7, 8, 9, 10]
    [of_server] = (statistics[WEB, key] for key in table[WEB].servers if tuple(key) == server_key)
    assert list(of_server["counters"].values()) == [11, 12, 13, 14, 15]
    assert list(of_server["connections"].values()) == [1, 2, 3]


def at_request(number: int, change: Callable[[], None]) -> Callable[[str], None]:
    """A hook that lets another writer in just before the given request."""
    seen = iter(range(1, 10**6))

    def hook(dummy: str) -> None:
        if next(seen) == number:
            change()

    return hook


@pytest.mark.parametrize("request_number", [2, 3, 5, 8])
def test_a_table_that_changes_while_it_is_read_is_read_again(kernel: Kernel, request_number: int) -> None:
    kernel.restore(TABLE)
    kernel.before = at_request(request_number, lambda: kernel.services.pop((2, 7, 0, b"", 0)))
    with Client() as client:
        table = client.table()
    assert sorted(table_lines(table)) == sorted(kernel.save())
    assert kernel.commands.count("GET_SERVICE") == 4


def test_a_dump_that_names_a_thing_twice_is_read_again(kernel: Kernel) -> None:
    kernel.restore(TABLE)
    kernel.duplicates = 2
    with Client() as client:
        assert sorted(table_lines(client.table())) == sorted(LINES)
    assert kernel.commands.count("GET_SERVICE") == 4


def test_a_dump_that_the_kernel_calls_interrupted_is_read_again(kernel: Kernel) -> None:
    kernel.restore(TABLE)
    marked: list[bool] = []

    def interrupt(datagram: bytes) -> bytes:
        size, kind, flags, *rest = struct.unpack_from("=IHHII", datagram)
        if kind == fake_kernel.FAMILY_ID and not marked:
            marked.append(True)
            return struct.pack("=IHHII", size, kind, flags | 0x10, *rest) + datagram[16:]
        return datagram

    kernel.mangle = interrupt
    with Client() as client:
        assert sorted(table_lines(client.table())) == sorted(LINES)
    assert kernel.commands.count("GET_SERVICE") == 3


def test_a_table_that_never_rests_is_given_up(kernel: Kernel) -> None:
    kernel.restore(TABLE)
    kernel.duplicates = 1000
    with (
        Client() as client,
        pytest.raises(IpvsError, match="another writer keeps changing the IPVS table: it was read 5"),
    ):
        client.table()


def test_an_entry_that_changes_while_it_is_read_is_read_again(kernel: Kernel) -> None:
    kernel.restore(TABLE)
    service = next(iter(kernel.services.values()))
    kernel.before = at_request(2, lambda: setattr(service, "scheduler", "rr"))
    with Client() as client:
        table = client.entry(WEB)
    assert table[WEB].service.scheduler == "rr"
    assert len(table[WEB].servers) == 4


def test_a_service_that_vanishes_while_it_is_read_is_not_there(kernel: Kernel) -> None:
    kernel.restore(TABLE)
    kernel.before = at_request(2, kernel.services.clear)
    with Client() as client:
        assert client.entry(WEB) == {}


# writing


@pytest.mark.parametrize(("count", "sends"), [(0, []), (1, [1]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])])
def test_requests_are_sent_in_batches(kernel: Kernel, count: int, sends: list[int]) -> None:
    kernel.restore("-A -t 192.0.2.10:443 -s wlc")
    with Client() as client:
        kernel.sends.clear()
        assert client.write(requests(count)) == Written(count, {})
    assert kernel.sends == sends
    assert len(kernel.save()) == 1 + count


def test_errors_are_told_by_request_and_end_the_batches(kernel: Kernel) -> None:
    kernel.restore("-A -t 192.0.2.10:443 -s wlc")
    kernel.refuse = {103: errno.ENOMEM, 107: errno.EINVAL, 199: errno.EEXIST, 203: errno.EPERM}
    with Client() as client:
        written = client.write(requests(250))
    assert written == Written(200, {103: errno.ENOMEM, 107: errno.EINVAL, 199: errno.EEXIST})
    assert len(kernel.writes) == 200
    assert len(kernel.save()) == 1 + 197


def test_errors_of_a_whole_batch_are_all_told(kernel: Kernel) -> None:
    with Client() as client:
        assert client.write(requests(150)) == Written(100, dict.fromkeys(range(100), errno.ESRCH))


def test_a_batch_without_an_answer_ends_the_batches(kernel: Kernel) -> None:
    kernel.restore("-A -t 192.0.2.10:443 -s wlc")

    def fall_silent(dummy: str) -> None:
        kernel.silent = len(kernel.writes) == 101

    kernel.before = fall_silent
    with Client() as client:
        *told, broken = client.write(requests(250))
    assert told == [100, {}, 100]
    assert "did not answer" in str(broken)
    assert kernel.sends[-2:] == [100, 100]


def test_a_read_after_a_failed_batch_is_not_confused(kernel: Kernel) -> None:
    kernel.restore(TABLE)
    with Client() as client:
        assert client.write(requests(3)).errors == {}
        assert client.write(requests(3)).errors == dict.fromkeys(range(3), errno.EEXIST)
        assert len(client.table()) == 6
        assert client.info()[0] == "1.2.1"


# what goes wrong


def test_every_wait_has_an_end(kernel: Kernel) -> None:
    with Client(timeout=3) as client:
        told = kernel.sockets[0].options
        assert (socket.SOL_SOCKET, socket.SO_RCVTIMEO) in told
        assert (socket.SOL_SOCKET, socket.SO_SNDTIMEO) in told
        kernel.silent = True
        for ask in (client.table, client.info, lambda: client.entry(WEB)):
            with pytest.raises(IpvsError, match="the kernel did not answer an IPVS request within 3 s"):
                ask()
        assert str(client.write(requests(1)).broken) == "the kernel did not answer an IPVS request within 3 s"
    assert kernel.sockets[0].closed


def test_a_kernel_that_never_answers_leaves_no_socket_behind(kernel: Kernel) -> None:
    kernel.silent = True
    with pytest.raises(IpvsError, match="did not answer"):
        Client()
    assert kernel.sockets[0].closed


@pytest.mark.parametrize(
    ("call", "number", "expected"),
    [
        ("socket", errno.EAFNOSUPPORT, "this host gives no netlink socket: Address family not supported by protocol"),
        ("send", errno.EMSGSIZE, "an IPVS request cannot be sent: Message too long"),
        ("recv_into", errno.ENOBUFS, "the kernel's answer to an IPVS request was lost: No buffer space available"),
    ],
)
def test_a_failing_socket_is_told(kernel: Kernel, call: str, number: int, expected: str) -> None:
    kernel.errors = {call: number}
    with pytest.raises(IpvsError) as caught:
        Client()
    assert str(caught.value) == expected
    assert all(end.closed for end in kernel.sockets)


def test_loaded_is_told_without_asking_netlink(machine: Machine) -> None:
    assert ipvs_loaded()
    machine.unload()
    assert not ipvs_loaded()
    assert machine.kernel.sockets == []


def test_a_kernel_without_ipvs_is_named(kernel: Kernel) -> None:
    kernel.loaded = False
    with pytest.raises(Unavailable, match="this kernel has no IPVS"):
        Client()
    assert kernel.sockets[0].closed


def test_a_missing_capability_is_named(kernel: Kernel) -> None:
    kernel.capable = False
    with Client() as client:
        for ask in (client.table, client.info, lambda: client.entry(WEB)):
            with pytest.raises(Forbidden, match="CAP_NET_ADMIN in the initial user namespace"):
                ask()
        assert client.write(requests(1)).errors == {0: errno.EPERM}


def test_an_unexpected_refusal_keeps_its_number(kernel: Kernel) -> None:
    def refuse(dummy: str) -> None:
        raise fake_kernel.Refused(errno.ENOMEM)

    kernel.before = refuse
    with Client() as client, pytest.raises(KernelRefused) as caught:
        client.service(WEB)
    assert caught.value.errno == errno.ENOMEM
    assert str(caught.value) == "the kernel refused an IPVS request: Cannot allocate memory"


def test_cut_replies_are_an_error_and_no_table(kernel: Kernel) -> None:
    kernel.restore(TABLE)
    with Client() as client:
        for cut in (1, 5, 50, 150, 290):
            kernel.mangle = lambda datagram, cut=cut: datagram[:-cut]
            with pytest.raises(IpvsError):
                client.table()


def test_an_empty_reply_is_an_error_at_once(kernel: Kernel) -> None:
    with Client() as client:
        kernel.mangle = lambda dummy: b""
        for ask in (client.table, client.info, lambda: client.entry(WEB)):
            with pytest.raises(IpvsError, match="the kernel's answer to an IPVS request is empty"):
                ask()
        assert str(client.write(requests(1)).broken) == "the kernel's answer to an IPVS request is empty"


def test_a_datagram_larger_than_the_buffer_is_an_error(kernel: Kernel) -> None:
    with Client() as client:
        kernel.mangle = lambda datagram: datagram + bytes(70000)
        with pytest.raises(IpvsError, match="bytes, more than netlink allows"):
            client.info()


def test_replies_to_others_are_passed_over(kernel: Kernel) -> None:
    kernel.restore(TABLE)
    stray = fake_kernel.message(2, 0, 0, struct.pack("=i", -errno.EINVAL) + bytes(16))
    stray += fake_kernel.message(fake_kernel.FAMILY_ID, 2, 77, bytes(40))
    kernel.mangle = lambda datagram: stray + datagram
    with Client() as client:
        assert len(client.table()) == 6
        assert client.write(requests(2)) == Written(2, {})
