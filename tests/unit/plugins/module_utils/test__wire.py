# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes: by hand, against pyroute2, and there and back."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.generic.ipvs import ipvsmsg

from plugins.module_utils import _encode, _statistics, _wire
from plugins.module_utils._model import AF_INET, AF_INET6, Entry, Server, ServerKey, Service, ServiceKey
from tests.unit import fake_kernel, strategies

WEB = ServiceKey(0, AF_INET, 6, bytes((192, 0, 2, 10)), 443)
WEB6 = ServiceKey(0, AF_INET6, 17, ipaddress.ip_address("2001:db8::10").packed, 53)
MARK = ServiceKey(7, AF_INET, 0, b"", 0)
MARK6 = ServiceKey(0xDEADBEEF, AF_INET6, 0, b"", 0)
RIP = ServerKey(AF_INET, bytes((198, 51, 100, 11)), 8443)
RIP6 = ServerKey(AF_INET6, ipaddress.ip_address("2001:db8::11").packed, 443)


# by hand, as a little-endian machine sends them

WEB_KEY = "06000100 02000000  06000200 06000000  08000300 c000020a  06000400 01bb0000"
RIP_KEY = "06000b00 02000000  08000100 c633640b  06000200 20fb0000"

LITERALS: list[tuple[str, Service | Server, ServiceKey, int, str]] = [
    (
        "add_service",
        Service(WEB, "mh", 0x10, 0, 0xFFFFFFFF, ""),
        WEB,
        1,
        f"48000100 {WEB_KEY} 07000600 6d680000  0c000700 10000000 ffffffff  08000800 00000000  08000900 ffffffff",
    ),
    (
        "edit_service",
        Service(WEB6, "wlc", 0x5, 300, 64, "sip"),
        WEB6,
        2,
        "5c000100 06000100 0a000000  06000200 11000000  14000300 20010db8 00000000 00000000 00000010  06000400 00350000"
        " 08000600 776c6300  0c000700 05000000 ffffffff  08000800 2c010000  08000900 40000000  08000b00 73697000",
    ),
    (
        "add_service",
        Service(MARK, "rr", 0x1, 60, 0xFFFFFF00, ""),
        MARK,
        1,
        "38000100 06000100 02000000  08000500 07000000"
        " 07000600 72720000  0c000700 01000000 ffffffff  08000800 3c000000  08000900 ffffff00",
    ),
    ("remove_service", Service(WEB, "mh", 0x10, 0, 0xFFFFFFFF, ""), WEB, 3, f"24000100 {WEB_KEY}"),
    (
        "remove_service",
        Service(MARK6, "rr", 0, 0, 128, ""),
        MARK6,
        3,
        "14000100 06000100 0a000000  08000500 efbeadde",
    ),
    (
        "add_server",
        Server(RIP, 0, 65535, 100, 50, 0, 0, 0),
        WEB,
        5,
        f"24000100 {WEB_KEY} 3c000200 {RIP_KEY}"
        " 08000300 00000000  08000400 ffff0000  08000500 64000000  08000600 32000000",
    ),
    (
        "edit_server",
        Server(RIP6, 2, 1, 0, 0, 1, 6080, 2),
        WEB,
        6,
        f"24000100 {WEB_KEY} 60000200"
        " 06000b00 0a000000  14000100 20010db8 00000000 00000000 00000011  06000200 01bb0000"
        " 08000300 02000000  08000400 01000000  08000500 00000000  08000600 00000000"
        " 05000d00 01000000  06000e00 17c00000  06000f00 02000000",
    ),
    (
        "quiesce_server",
        Server(RIP, 3, 0, 0, 0, 0, 0, 0),
        WEB,
        6,
        f"24000100 {WEB_KEY} 3c000200 {RIP_KEY}"
        " 08000300 03000000  08000400 00000000  08000500 00000000  08000600 00000000",
    ),
    ("remove_server", Server(RIP, 3, 1, 0, 0, 0, 0, 0), WEB, 7, f"24000100 {WEB_KEY} 1c000200 {RIP_KEY}"),
]


@pytest.mark.parametrize(("action", "subject", "key", "command", "expected"), LITERALS)
def test_requests_have_these_bytes(
    action: str, subject: Service | Server, key: ServiceKey, command: int, expected: str
) -> None:
    request = _encode.write_request(action, key, subject)
    body = bytes.fromhex(expected)
    assert request == (command, body)
    header = struct.pack("<IHHIIBBH", 20 + len(body), 0x34, 0x5, 9, 0, command, 1, 0)
    assert _wire.message(request, 0x34, _wire.NLM_F_ACK, 9) == header + body


@pytest.mark.parametrize(
    ("request_", "kind", "flags", "expected"),
    [
        (_wire.read_request(_wire.GET_SERVICE), 52, _wire.NLM_F_DUMP, "14000000 3400 0103 01000000 00000000 04010000"),
        (
            _wire.read_request(_wire.GET_DEST, WEB),
            52,
            _wire.NLM_F_DUMP,
            f"38000000 3400 0103 01000000 00000000 08010000 24000100 {WEB_KEY}",
        ),
        (_wire.read_request(_wire.GET_INFO), 52, _wire.NLM_F_ACK, "14000000 3400 0500 01000000 00000000 0f010000"),
        (
            _wire.family_request("IPVS"),
            _wire.GENL_ID_CTRL,
            _wire.NLM_F_ACK,
            "20000000 1000 0500 01000000 00000000 03010000 09000200 49505653 00000000",
        ),
    ],
)
def test_reading_requests_have_these_bytes(request_: _wire.Request, kind: int, flags: int, expected: str) -> None:
    assert _wire.message(request_, kind, flags, 1) == bytes.fromhex(expected)


@pytest.mark.parametrize("kind", [0, 2])
def test_the_flags_of_a_foreign_tunnel_are_kept(kind: int) -> None:
    """SET_DEST resets what is left out, and another hand may have given flags to any type of tunnel."""
    told = fake_kernel.attributes(_encode.encode_server(Server(RIP, 2, 1, 0, 0, kind, 0, 2)))
    assert (told[13], told[15]) == (bytes([kind]), struct.pack("=H", 2))


def test_a_mark_of_zero_is_never_sent() -> None:
    """The kernel would make TCP 0.0.0.0:0 of it."""
    assert 5 not in fake_kernel.attributes(_wire.encode_key(WEB))


# pyroute2 as another author of the same bytes. Its known errors are met on the way: it takes a tunnel's port in host
# order, and the prefix length of IPv6 as an IPv4 address.


def show(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))


def pyroute2_key(key: ServiceKey) -> list[tuple[str, Any]]:
    if key.fwmark:
        return [("IPVS_SVC_ATTR_AF", key.family), ("IPVS_SVC_ATTR_FWMARK", key.fwmark)]
    return [
        ("IPVS_SVC_ATTR_AF", key.family),
        ("IPVS_SVC_ATTR_PROTOCOL", key.protocol),
        ("IPVS_SVC_ATTR_ADDR", show(key.address)),
        ("IPVS_SVC_ATTR_PORT", key.port),
    ]


def pyroute2_service(service: Service) -> list[tuple[str, Any]]:
    order = "big" if service.key.family == AF_INET else "little"
    engine = [("IPVS_SVC_ATTR_PE_NAME", service.engine)] if service.engine else []
    return [
        *pyroute2_key(service.key),
        ("IPVS_SVC_ATTR_SCHED_NAME", service.scheduler),
        ("IPVS_SVC_ATTR_FLAGS", {"flags": service.flags, "mask": 0xFFFFFFFF}),
        ("IPVS_SVC_ATTR_TIMEOUT", service.timeout),
        ("IPVS_SVC_ATTR_NETMASK", show(service.netmask.to_bytes(4, order))),
        *engine,
    ]


def pyroute2_server(server: Server) -> list[tuple[str, Any]]:
    tunnel = [
        ("IPVS_DEST_ATTR_TUN_TYPE", server.tunnel_type),
        ("IPVS_DEST_ATTR_TUN_PORT", socket.htons(server.tunnel_port)),
        ("IPVS_DEST_ATTR_TUN_FLAGS", server.tunnel_flags),
    ]
    return [
        ("IPVS_DEST_ATTR_ADDR_FAMILY", server.key.family),
        ("IPVS_DEST_ATTR_ADDR", show(server.key.address)),
        ("IPVS_DEST_ATTR_PORT", server.key.port),
        ("IPVS_DEST_ATTR_FWD_METHOD", server.forward),
        ("IPVS_DEST_ATTR_WEIGHT", server.weight),
        ("IPVS_DEST_ATTR_U_THRESH", server.upper),
        ("IPVS_DEST_ATTR_L_THRESH", server.lower),
        *(tunnel if server.tunnel_type or server.tunnel_flags else []),
    ]


def pyroute2_bytes(*nests: tuple[str, list[tuple[str, Any]]]) -> bytes:
    message = ipvsmsg()
    message["attrs"] = [(name, {"attrs": attributes}) for name, attributes in nests]
    message.encode()
    return bytes(message.data[20 : message["header"]["length"]])


def nested(data: bytes) -> dict[int, dict[int, bytes]]:
    return {kind: fake_kernel.attributes(nest) for kind, nest in fake_kernel.attributes(data).items()}


@given(strategies.services())
def test_services_are_encoded_as_pyroute2_encodes_them(service: Service) -> None:
    ours = _encode.write_request("add_service", service.key, service)[1]
    theirs = pyroute2_bytes(("IPVS_CMD_ATTR_SERVICE", pyroute2_service(service)))
    assert nested(ours) == nested(theirs)


@given(strategies.entries())
def test_servers_are_encoded_as_pyroute2_encodes_them(entry: Entry) -> None:
    for server in entry.servers.values():
        ours = _encode.write_request("add_server", entry.service.key, server)[1]
        theirs = pyroute2_bytes(
            ("IPVS_CMD_ATTR_SERVICE", pyroute2_key(entry.service.key)), ("IPVS_CMD_ATTR_DEST", pyroute2_server(server))
        )
        assert nested(ours) == nested(theirs)


# replies, as the kernel lays them out


def read(decoder: _wire.Decoder, datagram: bytes) -> list[Any]:
    """What every message of a datagram tells."""
    values: list[Any] = []
    start = 0
    while start < len(datagram):
        dummy, dummy, dummy, end = _wire.reply_at(datagram, start, len(datagram))
        found, start = decoder.run(datagram, start, end, len(datagram))
        assert found
        values += found
    return values


def service_in(datagram: bytes) -> Service:
    [service] = read(_wire.SERVICE, datagram)
    return service


def servers_in(datagram: bytes, family: int = AF_INET) -> list[Server]:
    return read(_wire.SERVERS[family], datagram)


def service_reply(service: Service) -> bytes:
    """The kernel's reply about a service."""
    key = service.key
    held = fake_kernel.VirtualService(
        scheduler=service.scheduler,
        engine=service.engine,
        flags=service.flags | 0x2,
        timeout=service.timeout,
        netmask=service.netmask.to_bytes(4, "big" if key.family == AF_INET else "little"),
        statistics=tuple(range(2**40, 2**40 + 10)),
    )
    body = held.reply((key.family, key.fwmark, key.protocol, key.address, key.port))
    return fake_kernel.message(52, 2, 1, bytes((1, 1, 0, 0)) + fake_kernel.attribute(1, body))


def server_reply(server: Server, connections: int = 5) -> bytes:
    """The kernel's reply about a server."""
    held = fake_kernel.Dest(
        forward=server.forward,
        weight=server.weight,
        upper=server.upper,
        lower=server.lower,
        tunnel_type=server.tunnel_type,
        tunnel_port=server.tunnel_port,
        tunnel_flags=server.tunnel_flags,
        connections=(connections, 6, 7),
        statistics=tuple(range(2**40, 2**40 + 10)),
    )
    return fake_kernel.message(52, 2, 1, bytes((5, 1, 0, 0)) + fake_kernel.attribute(2, held.reply(*server.key)))


@given(strategies.services())
def test_services_are_decoded_as_they_are(service: Service) -> None:
    assert service_in(service_reply(service)) == service


@given(strategies.entries())
def test_servers_are_decoded_as_they_are(entry: Entry) -> None:
    servers = list(entry.servers.values())
    assert servers_in(b"".join(map(server_reply, servers))) == servers


@given(strategies.entries())
def test_attributes_are_read_in_any_order(entry: Entry) -> None:
    """A later kernel may tell more, and in another order."""
    for server in entry.servers.values():
        datagram = server_reply(server)
        parts = [fake_kernel.attribute(kind, value) for kind, value in fake_kernel.attributes(datagram[24:]).items()]
        body = fake_kernel.attribute(2, b"".join([fake_kernel.u32(99, 1), *reversed(parts)]))
        other = fake_kernel.message(52, 2, 1, bytes((5, 1, 0, 0)) + body)
        assert servers_in(datagram + other + datagram) == [server] * 3


@given(strategies.entries())
def test_pyroute2_decodes_the_same(entry: Entry) -> None:
    message = ipvsmsg(service_reply(entry.service))
    message.decode()
    told = message.get_attr("IPVS_CMD_ATTR_SERVICE")
    for name, value in pyroute2_service(entry.service):
        if name == "IPVS_SVC_ATTR_FLAGS":
            value["flags"] |= 0x2
            assert {key: told.get_attr(name)[key] for key in value} == value
        else:
            assert told.get_attr(name) == value
    for server in entry.servers.values():
        message = ipvsmsg(server_reply(server))
        message.decode()
        told = message.get_attr("IPVS_CMD_ATTR_DEST")
        # the kernel tells the family after the address, too late for pyroute2
        assert {name: told.get_attr(name) for name, dummy in pyroute2_server(server)[2:]} == dict(
            pyroute2_server(server)[2:]
        )


def test_statistics_have_64_bits() -> None:
    names = ("connections", "packets_in", "packets_out", "bytes_in", "bytes_out")
    counters = {name: 2**40 + i for i, name in enumerate(names)}
    rates = {f"{name}_per_second": 2**40 + 5 + i for i, name in enumerate(names)}
    service, server = Service(WEB, "rr", 0, 0, 0xFFFFFFFF, ""), Server(RIP, 0, 1, 0, 0, 0, 0, 0)
    told = {"counters": counters, "rates": rates}
    assert read(_statistics.COUNTED_SERVICE, service_reply(service)) == [(service, told)]
    told["connections"] = {"active": 5, "inactive": 6, "persistent": 7}
    assert read(_statistics.COUNTED_SERVERS[AF_INET], server_reply(server)) == [(server, told)]


def test_a_kernel_without_a_servers_family_means_the_services() -> None:
    body = fake_kernel.attribute(1, RIP.address + bytes(12)) + fake_kernel.port(2, 80)
    datagram = fake_kernel.message(52, 2, 1, bytes(4) + fake_kernel.attribute(2, body))
    [server] = servers_in(datagram)
    assert server.key == ServerKey(AF_INET, RIP.address, 80)


def test_what_is_told_again_is_the_same_value() -> None:
    """Of a thousand services with the same servers, whatever these have to do."""
    server = Server(RIP, 0, 1, 0, 0, 0, 0, 0)
    first, second, other = servers_in(
        server_reply(server) + server_reply(server, 9) + server_reply(server._replace(weight=2))
    )
    assert first is second
    assert (first.weight, other.weight) == (1, 2)


def test_messages_to_another_end_the_rows() -> None:
    ours, other = (
        server_reply(Server(RIP, 0, 1, 0, 0, 0, 0, 0)),
        bytearray(server_reply(Server(RIP, 0, 2, 0, 0, 0, 0, 0))),
    )
    struct.pack_into("=I", other, 8, 77)
    datagram = ours + ours + bytes(other) + ours
    servers, following = _wire.SERVERS[AF_INET].run(datagram, 0, len(ours), len(datagram))
    assert (len(servers), following) == (2, 2 * len(ours))


def test_what_follows_in_the_buffer_is_no_message() -> None:
    datagram = server_reply(Server(RIP, 0, 1, 0, 0, 0, 0, 0))
    buffer = bytearray(datagram + datagram)
    servers, following = _wire.SERVERS[AF_INET].run(buffer, 0, len(datagram), len(datagram))
    assert (len(servers), following) == (1, len(datagram))


@pytest.mark.parametrize("number", [17, 0])
def test_errors_and_acknowledgements(number: int) -> None:
    datagram = bytes(16) + fake_kernel.message(2, 0, 5, struct.pack("=i", -number) + bytes(16))
    kind, dummy, sequence, end = _wire.reply_at(datagram, 16, len(datagram))
    assert (kind, sequence, end) == (_wire.NLMSG_ERROR, 5, len(datagram))
    assert _wire.error_number(datagram, 16, end) == number


def test_the_end_of_a_dump_may_be_bare() -> None:
    datagram = fake_kernel.message(3, 2, 5, b"")
    assert _wire.error_number(datagram, 0, len(datagram)) == 0


def test_family_and_version() -> None:
    kernel = fake_kernel.Kernel()
    [datagram, dummy] = kernel.answer(16, 5, 1, bytes((3, 1, 0, 0)) + fake_kernel.attribute(2, b"IPVS\0"))
    assert read(_wire.FAMILY, datagram) == [(fake_kernel.FAMILY_ID, b"IPVS\0")]
    [datagram, dummy] = kernel.answer(fake_kernel.FAMILY_ID, 5, 1, bytes((15, 1, 0, 0)))
    [(version, size)] = read(_wire.INFO, datagram)
    assert (_wire.version_text(version), size) == ("1.2.1", 4096)


# the decoder

DECODED = ((1, "H", 0), (2, "I", 99), (3, "s", b""), (4, "16s", bytes(16)))


def reply_with(nest: int | None, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return fake_kernel.message(52, 2, 1, bytes(4) + (body if nest is None else fake_kernel.attribute(nest, body)))


@pytest.mark.parametrize("nest", [None, 7])
def test_a_decoder_learns_every_layout(nest: int | None) -> None:
    decoder = _wire.Decoder(nest, DECODED, tuple)
    address = bytes(range(16))
    cases = [
        ((fake_kernel.u16(1, 5), fake_kernel.u32(2, 6)), (5, 6, b"", bytes(16))),
        ((fake_kernel.u32(2, 6), fake_kernel.u16(1, 5)), (5, 6, b"", bytes(16))),
        ((fake_kernel.u16(1, 7), fake_kernel.u32(2, 8)), (7, 8, b"", bytes(16))),
        ((fake_kernel.u16(1, 7), fake_kernel.u32(9, 8)), (7, 99, b"", bytes(16))),
        ((fake_kernel.attribute(3, b"wlc\0"), fake_kernel.u32(2, 1)), (0, 1, b"wlc\0", bytes(16))),
        ((fake_kernel.attribute(3, b"rr\0"), fake_kernel.u32(2, 1)), (0, 1, b"rr\0", bytes(16))),
        ((fake_kernel.attribute(4, address), fake_kernel.u16(9, 1)), (0, 99, b"", address)),
        ((fake_kernel.attribute(0x8000 | 2, struct.pack("=I", 3)),), (0, 3, b"", bytes(16))),
    ]
    for dummy in range(2):
        for parts, values in cases:
            assert read(decoder, reply_with(nest, *parts)) == [values]
    mixed = b"".join(reply_with(nest, *parts) for parts, dummy in cases)
    assert read(decoder, mixed) == [values for dummy, values in cases]


@pytest.mark.parametrize("nest", [None, 7])
@pytest.mark.parametrize(
    "body",
    [
        fake_kernel.u32(1, 5),
        fake_kernel.u16(2, 5),
        fake_kernel.attribute(4, bytes(4)),
        fake_kernel.u32(2, 5)[:-1],
        struct.pack("=HH", 3, 2),
        struct.pack("=HHI", 9, 2, 0),
        fake_kernel.u16(1, 5) + struct.pack("=HHI", 40, 2, 0),
    ],
)
def test_a_decoder_refuses_what_is_cut_or_of_another_size(nest: int | None, body: bytes) -> None:
    decoder = _wire.Decoder(nest, DECODED, tuple)
    read(decoder, reply_with(nest, fake_kernel.u16(1, 5)) + reply_with(nest, fake_kernel.u32(2, 5)))
    with pytest.raises(_wire.Malformed):
        read(decoder, reply_with(nest, body))


@pytest.mark.parametrize(
    "datagram",
    [
        bytes(15),
        struct.pack("=IHHII", 15, 2, 0, 1, 0),
        struct.pack("=IHHII", 17, 2, 0, 1, 0),
    ],
)
def test_a_cut_datagram_is_refused(datagram: bytes) -> None:
    with pytest.raises(_wire.Malformed):
        _wire.reply_at(datagram, 0, len(datagram))


@pytest.mark.parametrize("decoder", [_wire.SERVICE, _wire.SERVERS[AF_INET]])
def test_a_reply_without_its_nest_is_refused(decoder: _wire.Decoder) -> None:
    with pytest.raises(_wire.Malformed):
        read(decoder, reply_with(5, fake_kernel.u16(1, 2)))


def test_a_service_of_no_family_is_refused() -> None:
    with pytest.raises(_wire.Malformed, match="address family 99"):
        service_in(reply_with(1, fake_kernel.u16(1, 99)))


def read_all(data: bytes) -> None:
    """Every decoder over a message, where nothing but Malformed may be raised."""
    decoders = [
        _wire.SERVICE,
        _statistics.COUNTED_SERVICE,
        _wire.SERVERS[AF_INET6],
        _statistics.COUNTED_SERVERS[AF_INET],
    ]
    for decoder in (*decoders, _wire.FAMILY, _wire.INFO):
        with contextlib.suppress(_wire.Malformed):
            read(decoder, data)
    with contextlib.suppress(_wire.Malformed):
        dummy, dummy, dummy, end = _wire.reply_at(data, 0, len(data))
        _wire.error_number(data, 0, end)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    read_all(data)
    read_all(fake_kernel.message(52, 0, 1, data))


@given(strategies.entries(), st.integers(0, 2000), st.integers(0, 255))
def test_damaged_replies_raise_nothing_but_malformed(entry: Entry, at: int, byte: int) -> None:
    for datagram in [service_reply(entry.service), *map(server_reply, entry.servers.values())]:
        data = bytearray(datagram)
        data[at % len(data)] = byte
        read_all(bytes(data))
        read_all(bytes(data[: at % len(data)]))
