# SPDX-License-Identifier: GPL-3.0-or-later
"""firewalld, ufw, a ruleset of nftables and the chains of Docker on a director and on a backend, with the commands of
the guide as they are written there. Before each of them the roles report a packet that is dropped, and traffic fails;
after the last one they report none, and traffic passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from tests.faults.director import NODE, ROOT, Director, Lab, Play

GUIDE = (ROOT / "docs" / "docsite" / "rst" / "guide_firewall.rst").read_text()
TRACKING = "net.ipv4.vs.conntrack"
#: The node is between a client and a server, which also reach each other directly. The server has the VIP for DR, and
#: is the director 192.0.2.1 where the node is a backend.
SETUP = """
set -e
apt-get -qq update
systemctl -q mask --runtime firewalld
apt-get -qq install firewalld ufw
systemctl -q unmask --runtime firewalld
systemctl -q disable firewalld ufw
for name in client server; do
  ip netns add $name
  ip link add to-$name type veth peer name eth0 netns $name
  ip link set to-$name up
  for device in lo eth0; do ip -n $name link set $device up; done
done
ip link add direct netns client type veth peer name direct netns server
for name in client server; do
  ip -n $name link set direct up
  for device in all eth0 direct; do  # a namespace begins with those of the node, which a backend needs otherwise
    ip netns exec $name sysctl -qw net.ipv4.conf.$device.rp_filter=0 net.ipv4.conf.$device.arp_ignore=0
  done
done
ip address add 203.0.113.1/24 dev to-client
ip address add 198.51.100.129/25 dev to-server
ip route add 192.0.2.1 dev to-server
ip -n client address add 203.0.113.10/24 dev eth0
ip -n client route add default via 203.0.113.1
ip -n server address add 198.51.100.131/25 dev eth0
ip -n server address add 192.0.2.1/32 dev lo
ip -n server address add 192.0.2.10/32 dev lo
ip -n server route change 198.51.100.128/25 dev eth0 src 192.0.2.1
ip -n server route add default via 198.51.100.129
ip -n server route add 203.0.113.10 dev direct table 100
ip -n server rule add from 192.0.2.10 table 100
mkdir -p /run/l4lb-answers/node /run/l4lb-answers/server
cd /run/l4lb-answers
for name in node server; do echo $name >$name/index.html; done
python3 -m http.server --directory node 443 >/dev/null 2>&1 &
echo $! >pids
for port in 443 8443; do
  ip netns exec server python3 -m http.server --directory server $port >/dev/null 2>&1 &
  echo $! >>pids
done
until ss -Hltn sport = 443 | grep -q .; do sleep 0.2; done
for port in 443 8443; do
  until ip netns exec server ss -Hltn sport = $port | grep -q .; do sleep 0.2; done
done
"""
CLEAN = """
kill $(cat /run/l4lb-answers/pids)
ip link del to-client
ip link del to-server
ip netns del client
ip netns del server
"""
#: Prints who answered. Status 1 without an answer, 2 if the end of the connection does not arrive at its other side.
ASK = """
import pathlib, socket, sys, time

try:
    asking = socket.create_connection(("192.0.2.10", 443), timeout=4)
    port = asking.getsockname()[1]
    asking.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print(b"".join(iter(lambda: asking.recv(4096), b"")).decode().split()[-1])
except OSError as error:
    sys.exit(str(error))
asking.close()

def unfinished():  # FIN-WAIT-1 or LAST-ACK
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] in ("04", "09") for row in rows)

deadline = time.monotonic() + 3
while unfinished():
    if time.monotonic() > deadline:
        sys.exit(2)
    time.sleep(0.1)
"""
SILENT, ENDLESS, WHOLE = 1, 2, 0


class Side(NamedTuple):
    """What the node is, of a service with one server."""

    role: str
    forward: str
    server: dict[str, Any]
    answers: str
    #: Commands that lead traffic to the node.
    begin: str = "true"
    end: str = "true"


def tunnelled(kind: str, attributes: dict[str, Any], options: str) -> Side:
    return Side(
        "ipvs_backend",
        "tun",
        {"address": "198.51.100.129", "tunnel_type": kind, **attributes},
        "node",
        "ip -n client route add 192.0.2.10 dev direct && "
        "ip netns exec server ipvsadm -A -t 192.0.2.10:443 -s rr && "
        f"ip netns exec server ipvsadm -a -t 192.0.2.10:443 -r 198.51.100.129 -i {options}",
        "ip netns exec server ipvsadm -C; ip -n client route del 192.0.2.10",
    )


SIDES = {
    "nat": Side("ipvs_director", "nat", {"address": "198.51.100.131", "port": 8443}, "server"),
    "dr": Side("ipvs_director", "dr", {"address": "198.51.100.131"}, "server"),
    "ipip": tunnelled("ipip", {}, ""),
    "gre": tunnelled("gre", {}, "--tun-type gre"),
    "gue": tunnelled("gue", {"tunnel_port": 6080}, "--tun-type gue --tun-port 6080"),
}
REQUEST = "tcp to 192.0.2.10 port 443"
ANSWER = "tcp from 198.51.100.131 port 8443"
OUTER = {
    "ipip": "ipencap (IP protocol 4) to 198.51.100.129",
    "gre": "gre (IP protocol 47) to 198.51.100.129",
    "gue": "udp to 198.51.100.129 port 6080",
}


class Firewall(NamedTuple):
    start: str
    stop: str
    #: What the guide names to silence the warnings that stay, by the role.
    allow: Mapping[str, tuple[str, ...]] = MappingProxyType({})


OF_NFT = """nft -f - <<'END'
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    tcp dport 22 accept
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
  }
}
END
"""
OF_DOCKER = """
for name in DOCKER-USER DOCKER; do iptables -N $name; done
iptables -P FORWARD DROP
iptables -A FORWARD -j DOCKER-USER
iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -o docker0 -j DOCKER
iptables -A FORWARD -i docker0 -j ACCEPT
iptables -A DOCKER-USER -j RETURN
"""
FIREWALLS = {
    # its service has started before its rules are there
    "firewalld": Firewall(
        "systemctl start firewalld && firewall-cmd --state", "systemctl stop firewalld; rm -f /etc/firewalld/zones/*"
    ),
    "ufw": Firewall(
        "ufw allow 22/tcp && ufw --force enable",
        "ufw --force reset",
        {"ipvs_director": ("forward_drop",), "ipvs_backend": ("input_drop",)},
    ),
    "nftables": Firewall(OF_NFT, "nft delete table inet filter", {"ipvs_backend": ("input_drop",)}),
    "Docker": Firewall(OF_DOCKER, "iptables -P FORWARD ACCEPT; iptables -F; iptables -X"),
}


#: In place of blocks: the role with the sysctl.
TRACKED: tuple[int, ...] = ()


class Step(NamedTuple):
    """A piece of advice, and before it is followed: how far a connection comes, and which packet is reported. None
    where the rule is an extension of iptables that may drop.
    """

    advice: tuple[int, ...]
    before: int
    reported: str | None


PORT, TRACK = Step((0,), SILENT, REQUEST), Step(TRACKED, SILENT, ANSWER)
#: By side the firewalls. The advice is blocks of the firewall's section, or the sysctl.
CASES: dict[str, list[tuple[str, list[Step]]]] = {
    "nat": [
        ("firewalld", [PORT, TRACK]),
        ("ufw", [PORT, TRACK]),
        ("ufw", [PORT, Step((2,), SILENT, ANSWER), Step(TRACKED, ENDLESS, None)]),
        ("nftables", [PORT, TRACK]),
        ("nftables", [PORT, Step((1,), SILENT, ANSWER)]),
        ("Docker", [Step((0,), SILENT, ANSWER)]),
    ],
    "dr": [
        ("firewalld", [PORT, Step(TRACKED, ENDLESS, REQUEST)]),
        ("ufw", [PORT, Step(TRACKED, ENDLESS, None)]),
    ],
    "ipip": [
        ("firewalld", [PORT, Step((1,), SILENT, OUTER["ipip"])]),
        ("ufw", [PORT, Step((1,), SILENT, OUTER["ipip"])]),
        ("nftables", [Step((2,), SILENT, OUTER["ipip"])]),
    ],
    **{
        kind: [
            ("firewalld", [Step((0, 1), SILENT, OUTER[kind])]),
            ("ufw", [Step((0, 1), SILENT, OUTER[kind])]),
            ("nftables", [Step((2,), SILENT, OUTER[kind])]),
        ]
        for kind in ("gre", "gue")
    },
}


def advice(firewall: str, block: int, side: str) -> str:
    """Commands for a block in the section of the guide about a firewall. A line for one kind of tunnel ends in its
    name.
    """
    sections = re.split(r"\n(\S.*)\n-+\n", GUIDE)
    blocks = re.findall(r"\.\. code-block:: (\w+)\n\n((?:   .+\n)+)", sections[sections.index(firewall) + 1])
    language, text = blocks[block]
    lines = [one.groups() for one in re.finditer(r"^   (?:# )?(.*?)(?: +# (\w+))?$", text, re.MULTILINE)]
    wanted = [line for line, kind in lines if kind in (None, side)]
    if language == "console":
        return " && ".join(wanted)
    if "{" not in text:
        return " && ".join(f"nft insert rule inet filter forward {line}" for line in wanted)
    return "\n".join(["nft -f - <<'END'", "table inet filter {", *wanted, "}", "END"])


@pytest.fixture(scope="module")
def joined(lab: Lab, director: Director) -> Iterator[Director]:
    lab.ssh("cat > /run/l4lb-ask.py", data=ASK.encode())
    try:
        lab.ssh("cat > /run/l4lb-setup; sh /run/l4lb-setup", data=SETUP.encode())
        yield director
    finally:
        lab.run("ssh", NODE, CLEAN)


def run(
    director: Director,
    side: Side,
    tasks_from: str = "main",
    state: str = "present",
    tracks: bool = False,
    allow: tuple[str, ...] = (),
) -> Play:
    """The role, or one file of its tasks."""
    service = {
        "name": "web",
        "address": "192.0.2.10",
        "port": 443,
        "forward": side.forward,
        "servers": [side.server],
        **({"return_path": "none"} if side.forward == "nat" else {}),
    }
    variables: dict[str, Any] = {
        "ipvs_services": [service],
        f"{side.role}_state": state,
        f"{side.role}_allow": allow,
    }
    if side.role == "ipvs_director":
        variables["ipvs_director_vip_interface"] = "to-client"
        variables["ipvs_director_sysctls"] = {TRACKING: int(tracks)}
    else:
        variables["ipvs_director_hosts"] = "nowhere"
    role = {"name": f"l4lb.ipvs.{side.role}", "tasks_from": tasks_from}
    task = {"ansible.builtin.import_role": role}
    return director.play([{"hosts": NODE, "gather_facts": False, "tasks": [task], "vars": variables}])


def asked(director: Director, side: Side) -> int:
    """How far a connection of the client comes."""
    done = director.lab.run("ssh", NODE, "ip netns exec client python3 /run/l4lb-ask.py")
    assert done.returncode == SILENT or done.stdout.decode().split() == [side.answers], done.stdout
    return done.returncode


def reported(play: Play) -> list[str]:
    return re.findall(r'"(the chain \S+ of table .*(?:drops|may drop) packet.*)"', play.output)


def follow(director: Director, kind: str, name: str, steps: list[Step]) -> None:
    """Start a firewall, and follow the advice step by step."""
    side, firewall = SIDES[kind], FIREWALLS[name]
    tracks, allow = False, firewall.allow.get(side.role, ())
    director.lab.ssh(firewall.start)
    try:
        for step in steps:
            assert (name, step, asked(director, side)) == (name, step, step.before)
            found = reported(run(director, side, "preflight", tracks=tracks))
            if step.reported:
                assert [one for one in found if step.reported in one and "accept them there" in one], (name, found)
            for block in step.advice:
                director.lab.ssh(advice(name, block, kind))
            if step.advice == TRACKED:
                tracks = True
                done = run(director, side, tracks=tracks, allow=allow)
                assert done.status == 0, done.output
        done = run(director, side, "preflight", tracks=tracks, allow=allow)
        assert (name, done.status, reported(done)) == (name, 0, []), done.output
        assert (name, asked(director, side)) == (name, WHOLE)
    finally:
        # with the sysctl the role exempts DR
        director.lab.run("ssh", NODE, f"{firewall.stop}; sysctl -qw {TRACKING}=0; nft delete table ip l4lb_notrack")


@pytest.mark.parametrize("kind", SIDES)
def test_what_is_reported_does_not_pass_and_with_the_commands_of_the_guide_it_does(joined: Director, kind: str) -> None:
    side = SIDES[kind]
    joined.lab.ssh(side.begin)
    try:
        done = run(joined, side)
        assert done.status == 0, done.output
        assert asked(joined, side) == WHOLE
        for name, steps in CASES[kind]:
            follow(joined, kind, name, steps)
    finally:
        joined.lab.ssh(side.end)
        done = run(joined, side, state="absent")
    assert done.status == 0, done.output
