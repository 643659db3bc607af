# SPDX-License-Identifier: GPL-3.0-or-later
"""_rtnl: what goes to pyroute2 and what comes back, without a kernel."""

from __future__ import annotations

import importlib.util
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import pyroute2
import pytest
from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_DELADDR
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from plugins.module_utils import _rtnl
from plugins.module_utils._errors import Forbidden, KernelRefused, Unavailable
from plugins.module_utils._rtnl import FOREVER, PROTOCOL, Address, Link, Rtnl

V4 = socket.inet_aton("192.0.2.10")
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::10")


def attribute(number: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, number) + value + b"\0" * (-len(value) % 4)


def address_message(family: int, prefix: int, scope: int, index: int, *attributes: bytes) -> Any:
    """An RTM_NEWADDR as the kernel sends it, decoded by pyroute2."""
    body = struct.pack("=BBBBI", family, prefix, 0x80, scope, index) + b"".join(attributes)
    message = ifaddrmsg(struct.pack("=IHHII", len(body) + 16, 20, 2, 1, 1) + body)
    message.decode()
    return message


def link_message(index: int, hardware: int, flags: int, *attributes: bytes) -> Any:
    body = struct.pack("=BBHiII", 0, 0, hardware, index, flags, 0) + b"".join(attributes)
    message = ifinfmsg(struct.pack("=IHHII", len(body) + 16, 16, 2, 1, 1) + body)
    message.decode()
    return message


def name(written: str) -> bytes:
    return attribute(3, written.encode() + b"\0")


def kind(written: str) -> bytes:
    return attribute(18, attribute(1, written.encode() + b"\0"))


class FakeIPRoute:
    """Keeps what it is asked; its links and addresses are made from the kernel's bytes."""

    error = 0

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.found: list[Any] = []
        self.closed = False

    def get_links(self) -> list[Any]:
        return [
            link_message(1, 772, 0x10049, name("lo")),
            link_message(
                2,
                1,
                0x11043,
                name("eth0"),
                attribute(1, bytes.fromhex("525400000001")),
                attribute(10, struct.pack("=I", 4)),
            ),
            link_message(3, 1, 0x82, name("dummy0"), kind("dummy")),
            link_message(4, 1, 0x1003, name("br0"), kind("bridge")),
            link_message(5, 768, 0x81, name("tunl0"), kind("ipip")),
        ]

    def get_addr(self) -> list[Any]:
        return self.found

    def addr(self, command: str, **wish: Any) -> None:
        if self.error:
            raise NetlinkError(self.error)
        self.requests.append((command, wish))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeIPRoute:
    made = FakeIPRoute()
    monkeypatch.setattr(pyroute2, "IPRoute", lambda: made)
    return made


def test_links(fake: FakeIPRoute) -> None:
    with Rtnl() as kernel:
        links = kernel.links()
    assert fake.closed
    assert links["eth0"] == Link(2, "eth0", 0x11043, 1, "", bytes.fromhex("525400000001"), "br0", "bridge")
    assert links["dummy0"].kind == "dummy"
    assert [link.name for link in links.values() if link.on_segment] == ["eth0", "br0"]
    assert [link.name for link in links.values() if link.loopback] == ["lo"]
    assert [link.name for link in links.values() if link.up] == ["lo", "eth0", "br0", "tunl0"]
    assert [link.name for link in links.values() if link.running] == ["lo", "eth0"]


def test_addresses(fake: FakeIPRoute) -> None:
    forever = struct.pack("=IIII", FOREVER, FOREVER, 0, 0)
    with Rtnl() as kernel:
        kernel.links()
        fake.found = [
            address_message(
                socket.AF_INET,
                24,
                253,
                2,
                attribute(1, V4),
                attribute(2, V4),
                attribute(4, socket.inet_aton("192.0.2.255")),
                attribute(3, b"eth0:vip\0"),
                attribute(8, struct.pack("=I", 0x2A1)),
                attribute(6, forever),
                attribute(11, bytes([PROTOCOL])),
            ),
            # point to point: IFA_ADDRESS is the other end
            address_message(
                socket.AF_INET,
                32,
                0,
                5,
                attribute(1, V4),
                attribute(2, socket.inet_aton("192.0.2.9")),
                attribute(3, b"tunl0\0"),
            ),
            address_message(
                socket.AF_INET6,
                128,
                0,
                2,
                attribute(1, V6),
                attribute(8, struct.pack("=I", 0x42)),
                attribute(6, forever),
            ),
            address_message(socket.AF_INET6, 128, 200, 2, attribute(1, V6), attribute(8, struct.pack("=I", 0x48))),
            # of an interface that came after links()
            address_message(socket.AF_INET, 32, 0, 9, attribute(1, V4)),
        ]
        first, second, third, fourth = kernel.addresses()
    assert first == Address(
        V4, "eth0", 24, "link", socket.inet_aton("192.0.2.255"), "eth0:vip", False, True, 0, PROTOCOL, 0x2A1
    )
    assert first.ours
    assert first.secondary
    assert (second.address, second.label, second.protocol, second.ours) == (socket.inet_aton("192.0.2.9"), "", 0, False)
    assert third.nodad
    assert third.tentative
    assert third.preferred_lifetime == FOREVER
    assert not third.secondary
    assert fourth.duplicate
    assert not fourth.tentative
    assert fourth.scope == "site"


def test_the_protocol_is_read_with_an_old_pyroute2(fake: FakeIPRoute, monkeypatch: pytest.MonkeyPatch) -> None:
    # 0.7.2 ends at IFA_FLAGS
    monkeypatch.setattr(ifaddrmsg, "nla_map", ifaddrmsg.nla_map[:9])
    Rtnl()
    assert [entry[0] for entry in ifaddrmsg.nla_map[9:]] == ["IFA_RT_PRIORITY", "IFA_TARGET_NETNSID", "IFA_PROTO"]
    length = len(ifaddrmsg.nla_map)
    Rtnl()
    assert len(ifaddrmsg.nla_map) == length


def test_add_sends_every_attribute(fake: FakeIPRoute) -> None:
    wish = Address(V4, "eth0", 24, "host", socket.inet_aton("192.0.2.255"), "eth0:vip", False, True, 0)
    with Rtnl() as kernel:
        kernel.links()
        kernel.add(wish)
    ((command, sent),) = fake.requests
    assert command == "add"
    # 0.7 takes the lifetime from cacheinfo if that comes last
    assert list(sent)[-2:] == ["preferred", "cacheinfo"]
    assert sent == {
        "index": 2,
        "address": "192.0.2.10",
        "prefixlen": 24,
        "family": socket.AF_INET,
        "scope": 254,
        "proto": PROTOCOL,
        "label": "eth0:vip",
        "broadcast": "192.0.2.255",
        "flags": 0x200,
        "preferred": 0,
        "cacheinfo": {"preferred": 0, "valid": FOREVER, "ifa_preferred": 0, "ifa_valid": FOREVER},
    }


def test_replace_and_remove(fake: FakeIPRoute) -> None:
    wish = Address(V6, "lo", 128, nodad=True)
    with Rtnl() as kernel:
        kernel.links()
        kernel.replace(wish)
        kernel.remove(wish)
    (replaced, sent), (removed, named) = fake.requests
    assert (replaced, removed) == ("replace", "del")
    assert (sent["flags"], sent["scope"], sent["preferred"]) == (2, 0, FOREVER)
    assert "label" not in sent
    assert named == {"index": 1, "address": "2001:db8::10", "prefixlen": 128, "family": socket.AF_INET6}


def test_a_label_is_the_interface_by_default(fake: FakeIPRoute) -> None:
    with Rtnl() as kernel:
        kernel.links()
        kernel.add(Address(V4, "eth0", 32))
    sent = fake.requests[0][1]
    assert sent["label"] == "eth0"
    assert not {"flags", "broadcast"} & set(sent)


@pytest.mark.parametrize(("number", "error"), [(17, KernelRefused), (99, KernelRefused), (1, Forbidden)])
def test_a_refusal_keeps_its_number(fake: FakeIPRoute, number: int, error: type[Exception]) -> None:
    fake.error = number
    with Rtnl() as kernel:
        kernel.links()
        with pytest.raises(error) as caught:
            kernel.add(Address(V4, "eth0", 32))
    assert getattr(caught.value, "errno", 1) == number


def test_before_0_7_a_removal_is_asked_for_by_its_number(fake: FakeIPRoute, monkeypatch: pytest.MonkeyPatch) -> None:
    """Because its "del" carries NLM_F_EXCL, which newer kernels refuse."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyroute2.requests" else find(name))
    with Rtnl() as kernel:
        kernel.links()
        kernel.add(Address(V4, "lo", 32))
        kernel.remove(Address(V4, "lo", 32))
    assert [command for command, dummy in fake.requests] == ["add", (RTM_DELADDR, NLM_F_REQUEST | NLM_F_ACK)]


def unavailable() -> str:
    with pytest.raises(Unavailable) as caught:
        Rtnl()
    return str(caught.value)


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyroute2", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda dummy: None)
    monkeypatch.setattr(_rtnl, "LIBRARIES", (f"{tmp_path}/python3*/*-packages",))
    missing = f"the Python library pyroute2 is not installed for the Python that runs this module ({sys.executable})"
    assert unavailable() == f"{missing}: install the package python3-pyroute2 (Debian, Ubuntu, Fedora, RHEL with EPEL)"
    elsewhere = tmp_path / "python3.9" / "site-packages" / "pyroute2"
    elsewhere.mkdir(parents=True)
    assert unavailable() == (
        f"{missing}, but for another one ({elsewhere}): name that one in ansible_python_interpreter, "
        "or install the package python3-pyroute2 (Debian, Ubuntu, Fedora, RHEL with EPEL)"
    )


def test_a_library_that_cannot_be_loaded_is_not_called_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As 0.6 and older on Python 3.12 and newer."""
    monkeypatch.delitem(sys.modules, "pyroute2")
    (tmp_path / "pyroute2.py").write_text("import no_such_module_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert unavailable() == (
        "the Python library pyroute2 cannot be loaded by Python {}.{} ".format(*sys.version_info)
        + f"({sys.executable}): No module named 'no_such_module_at_all'"
    )
