# SPDX-License-Identifier: GPL-3.0-or-later
"""The role ipvs_director on a host that others use as well, with hundreds of services, and with inventories that must
not cost it any of them; modules with more arguments than a pipe holds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.faults.director import COUNTING, PLACE, Director, Play

VIPS = [f"198.51.100.{last}" for last in range(101, 121)]
PORTS = list(range(8001, 8016))
SERVERS = {f"web{last}": {"ipvs_address": f"198.51.100.{last}"} for last in range(11, 21)}
WEB = {
    "name": "web",
    "addresses": VIPS,
    "ports": PORTS,
    "forward": "nat",
    "servers_from": {"group": "web", "address": "ipvs_address"},
}
MOST_STARTS = 15
AT_THE_LOCK = f"""
import contextlib, fcntl, glob, os, pathlib, time
here = os.stat("/proc/self/ns/net")
path = f"/run/l4lb-ipvs/{{here.st_dev}}-{{here.st_ino}}.lock"
waiting, told = (pathlib.Path("{PLACE}", name) for name in ("waiting", "told"))

def having():
    found = set()
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(link) == path:
                found.add(link.split("/")[2])
    return found

def wait_until(holds):
    deadline = time.monotonic() + 50  # others wait for the lock for a minute
    while not holds():
        assert time.monotonic() < deadline, having()
        time.sleep(0.2)

def hold_until(holds):
    with open(path) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wait_until(holds)
"""
HOLD_UNTIL_TWO_WAIT = f"{AT_THE_LOCK}hold_until(lambda: len(having()) > 2)".encode()
HOLD_UNTIL_TOLD = f"""{AT_THE_LOCK}
def is_told():
    if len(having()) > 1:
        waiting.touch()
    return told.exists()

hold_until(is_told)
""".encode()
UNTIL_NOBODY_HAS_IT = f"{AT_THE_LOCK}wait_until(lambda: not having())".encode()
PIPE = 65536  # bytes that it holds (pipe(7))


def build(
    director: Director,
    services: list[dict[str, Any]],
    servers: dict[str, Any] = SERVERS,
    check: bool = False,
    **more: Any,
) -> Play:
    """Run the playbook of the collection for services with the group ``web`` of servers."""
    variables = {"ipvs_services": services, **more}
    # what is marked so is not rendered, as if it had been by mistake
    text = json.dumps(variables).replace('"{{ left', '!unsafe "{{ left')
    return director.play("l4lb.ipvs.site", text, groups={"web": servers}, check=check)


# what comes first, before the services of the fixture, which a run for others would remove
FEW = {**WEB, "addresses": VIPS[:1], "ports": [8001, 8002]}
TWO_SERVERS = dict(list(SERVERS.items())[:2])
# the address that QEMU's own network gives every node, through which it is managed
SSHD = {"name": "ssh", "address": "10.0.2.15", "port": 22, "forward": "nat", "servers": [{"address": "198.51.100.11"}]}
ITSELF = {"name": "itself", "address": VIPS[0], "port": 8443, "forward": "tun", "servers": [{"address": "10.0.2.15"}]}
KUBE_PROXY = ("ip link add kube-ipvs0 type dummy", "ip link del kube-ipvs0")


#: word that allows it -> what makes the danger, what takes it back, the service, what the run has to tell
DANGERS = {
    "forward_drop": (
        "nft 'add table inet theirs; add chain inet theirs way { type filter hook forward priority 0; policy drop; }'",
        "nft delete table inet theirs",
        FEW,
        "the chain way of table inet theirs drops packets tcp from 198.51.100.11 port 8001",
    ),
    "input_drop": (
        "nft 'add table inet theirs; add chain inet theirs way { type filter hook input priority 0; }; "
        f"add rule inet theirs way ip daddr {VIPS[0]} reject'",
        "nft delete table inet theirs",
        FEW,
        f"the chain way of table inet theirs drops packets tcp to {VIPS[0]} port 8001",
    ),
    "foreign_masquerade": (
        "nft 'add table ip theirs; add chain ip theirs post { type nat hook postrouting priority 100; }; "
        "add rule ip theirs post oifname eth1 masquerade'",
        "nft delete table ip theirs",
        FEW,
        "a rule in chain post of table ip theirs already changes the source of",
    ),
    "foreign_owner": (*KUBE_PROXY, FEW, "kube-proxy (device kube-ipvs0) manages the IPVS table of this host as well"),
    "localnode": ("true", "true", ITSELF, "server 10.0.2.15: a director of the service (this host)"),
    "management_capture": ("true", "true", SSHD, "a service takes port 22 of 10.0.2.15, through which"),
}


@pytest.mark.parametrize("word", DANGERS)
def test_a_danger_is_refused_unless_it_is_allowed(director: Director, word: str) -> None:
    make, take_back, service, told = DANGERS[word]
    director.lab.ssh(make)
    try:
        before = state(director)
        # a purge would be refused beside another controller
        refused = build(director, [service], TWO_SERVERS, ipvs_director_purge="none")
        assert refused.status != 0, refused.output
        assert told in refused.output
        assert f"(to accept it, name {word} in ipvs_director_allow)" in refused.output
        assert not refused.changed
        allow = {"ipvs_director_allow": [word], "ipvs_director_purge": "none"}
        # in check mode, for this director is still to be managed afterwards
        allowed = build(director, [service], TWO_SERVERS, check=True, **allow)
        assert allowed.status == 0, allowed.output
        assert told in allowed.output
        assert allowed.changed, allowed.output
        assert state(director) == before
    finally:
        director.lab.ssh(take_back)


@pytest.mark.parametrize("tool", ["nft", "conntrack"])
def test_check_mode_goes_on_where_a_package_is_to_be_installed(director: Director, tool: str) -> None:
    before = state(director)
    director.lab.ssh(f"mv /usr/sbin/{tool} /usr/sbin/{tool}.hidden")
    try:
        run = build(director, [FEW], TWO_SERVERS, check=True)
    finally:
        director.lab.ssh(f"mv /usr/sbin/{tool}.hidden /usr/sbin/{tool}")
    assert run.status == 0, run.output
    assert ": Install | Install the packages]" in run.output
    assert state(director) == before


def test_removal_leaves_what_others_have_made(director: Director) -> None:
    """A listed service that was there before, and a server that another program has put in one of the role's."""
    adopted = ["-A -t 198.51.100.101:8001 -s wlc", "-a -t 198.51.100.101:8001 -r 198.51.100.11:8001 -m -w 1"]
    foreign = "-a -t 198.51.100.101:8002 -r 198.51.100.99:8002 -m -w 1"
    director.lab.ssh("ipvsadm -R", data="\n".join(adopted).encode())
    try:
        made = build(director, [FEW], TWO_SERVERS)
        assert made.status == 0, made.output
        director.lab.ssh("ipvsadm -R", data=foreign.encode())
        assert [sum(line.startswith(word) for line in director.table()) for word in ("-A", "-a")] == [2, 5]
        gone = build(director, [FEW], TWO_SERVERS, ipvs_director_state="absent", ipvs_director_purge="none")
        assert gone.status == 0, gone.output
        assert director.table() == [*adopted, "-A -t 198.51.100.101:8002 -s wlc", foreign]
        assert vips(director) == set()
    finally:
        director.lab.ssh("ipvsadm -C")


def test_removal_beside_another_controller_leaves_the_table(director: Director) -> None:
    made = build(director, [FEW], TWO_SERVERS)
    assert made.status == 0, made.output
    table = director.table()
    director.lab.ssh(KUBE_PROXY[0])
    try:
        gone = build(director, [FEW], TWO_SERVERS, ipvs_director_state="absent", ipvs_director_purge="none")
    finally:
        director.lab.ssh(KUBE_PROXY[1])
    assert gone.status == 0, gone.output
    assert "The IPVS table stays as it is, for kube-proxy (device kube-ipvs0) manages it as well." in gone.output
    assert director.table() == table
    assert vips(director) == set()
    gone = build(director, [FEW], TWO_SERVERS, ipvs_director_state="absent")
    assert gone.status == 0, gone.output
    assert director.table() == []


def test_a_group_that_lost_its_hosts_costs_other_services_nothing(director: Director) -> None:
    """A service by DR beside one with source NAT: what exempts it from tracking stays when its removal is refused."""
    services = [
        {"name": "nat", "address": VIPS[0], "port": 8001, "forward": "nat", "servers": [{"address": "198.51.100.11"}]},
        {**FEW, "name": "direct", "addresses": VIPS[1:2], "forward": "dr"},
    ]
    made = build(director, services, TWO_SERVERS)
    assert made.status == 0, made.output
    before = state(director)
    assert any("notrack" in line for line in before), before
    for check in (True, False):
        run = build(director, services, {}, check)
        assert run.status != 0, run.output
        assert "would leave 2 of 3 listed services without a server" in run.output
        assert state(director) == before
    gone = build(director, [], {}, ipvs_director_state="absent")
    assert gone.status == 0, gone.output


def test_f02_the_controller_is_killed(director: Director) -> None:
    """With its ssh, before the module that it has started writes anything: the work is done all the same."""

    def table(ports: range) -> list[dict[str, Any]]:
        services = [
            {"address": "192.0.2.10", "port": port, "servers": [{"address": "198.51.100.11"}]} for port in ports
        ]
        module = {"services": services, "purge": "owned", "max_removals": "100%"}
        return [
            {
                "hosts": "ipvs_directors",
                "gather_facts": False,
                "tasks": [{"name": "Build", "l4lb.ipvs.ipvs_table": module}],
            }
        ]

    old, new = range(9000, 9040), range(9020, 9060)
    made = director.play(table(old))
    assert made.status == 0, made.output
    director.lab.ssh(f"cd {PLACE}; rm -f waiting told")
    with ThreadPoolExecutor() as pool:
        held = pool.submit(director.lab.ssh, "python3 -", data=HOLD_UNTIL_TOLD)
        with director.started(table(new)) as controller:
            director.lab.ssh(f"cd {PLACE}; timeout 60 sh -c 'until [ -e waiting ]; do sleep 0.2; done'")
            killed = kill_with_children(controller.pid)
        director.lab.ssh(f"touch {PLACE}/told")
        held.result()
    assert any("ssh" in name for name in killed), killed
    director.lab.ssh("python3 -", data=UNTIL_NOBODY_HAS_IT)
    assert ports_of(director) == list(new)
    again = director.play(table(new))
    assert again.status == 0, again.output
    assert not again.changed
    director.play(table(range(0)))
    assert ports_of(director) == []


def ports_of(director: Director) -> list[int]:
    return sorted(int(line.split(" -s")[0].split(":")[1]) for line in director.table() if line.startswith("-A"))


def kill_with_children(pid: int) -> list[str]:
    """Kill a process and all that it has started, from the top -> their names."""
    listing = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,comm="], check=True, stdout=subprocess.PIPE, text=True)
    found = {}
    wanted = {pid}
    for number, parent, name in (line.split(None, 2) for line in listing.stdout.splitlines()):
        if wanted & {int(number), int(parent)}:  # a child has a higher number, but where numbers began anew
            wanted.add(int(number))
            found[int(number)] = name
    for number in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return list(found.values())


@pytest.fixture(scope="module")
def built(director: Director, record_testsuite_property: Callable[[str, object], None]) -> Iterator[Director]:
    """The director with 300 services of ten servers each; without them at the end."""
    first = build(director, [WEB])
    record_testsuite_property("300 x 10, first run", f"{first.seconds:.1f} s, {first.starts} modules")
    assert first.status == 0, first.output
    yield director
    gone = build(director, [WEB], ipvs_director_state="absent")
    assert gone.status == 0, gone.output
    assert director.table() == []
    assert vips(director) == set()


def vips(director: Director) -> set[str]:
    return {word.partition("/")[0] for word in director.lab.ssh("ip -o address show dev eth1").split()} & set(VIPS)


def state(director: Director) -> list[str]:
    """What an inventory must not cost. A node that has just started is still testing its own addresses."""
    rest = "ip -o address | sed 's/ tentative//'; nft -s list ruleset; find /etc/sysctl.d -name '*l4lb*' -exec cat {} +"
    return [*sorted(director.table()), *director.lab.ssh(rest).splitlines()]


def test_the_second_run_of_many_services_is_short(
    built: Director, record_property: Callable[[str, object], None]
) -> None:
    again = build(built, [WEB])
    record_property("300 x 10, second run", f"{again.seconds:.1f} s, {again.starts} modules")
    assert again.status == 0, again.output
    assert not again.changed, again.output
    assert 1 < again.starts <= MOST_STARTS
    table = built.table()
    assert [sum(line.startswith(word) for line in table) for word in ("-A", "-a")] == [300, 3000]
    assert vips(built) == set(VIPS)


@pytest.mark.parametrize(
    ("services", "servers", "told"),
    [
        pytest.param([], SERVERS, "would remove 300 of 300 services, and none is listed", id="no services"),
        pytest.param(
            [{**WEB, "addresses": VIPS[:10]}], SERVERS, "would remove 150 of 300 services", id="half of the services"
        ),
        pytest.param([WEB], {}, "would remove 3000 of 3000 servers", id="an empty group"),
        pytest.param([WEB], dict(list(SERVERS.items())[:5]), "would remove 1500 of 3000 servers", id="half of a group"),
        pytest.param([WEB], {**SERVERS, "web20": {}}, "host web20 of group web has no variable", id="no address"),
        pytest.param(
            [{**WEB, "addresses": ["{{ left }}"]}],
            SERVERS,
            "looks like an unrendered template",
            id="a template left over",
        ),
        pytest.param(
            [{**WEB, "addresses": ["{{ absent }}"]}], SERVERS, "'absent' is undefined", id="an undefined variable"
        ),
    ],
)
def test_a_broken_inventory_removes_nothing(
    built: Director, services: list[dict[str, Any]], servers: dict[str, Any], told: str
) -> None:
    before = state(built)
    for check in (True, False):
        run = build(built, services, servers, check)
        assert run.status != 0, run.output
        assert told in run.output
        assert state(built) == before


def test_two_playbooks_at_once(built: Director, tmp_path: Path) -> None:
    """Both make the same change and meet at the lock: one waits for the other, and both end well."""
    changed = [{**WEB, "scheduler": "rr"}]
    with ThreadPoolExecutor() as pool:
        met = pool.submit(built.lab.ssh, "python3 -", data=HOLD_UNTIL_TWO_WAIT)
        plays = list(pool.map(lambda one: build(one, changed), [built, Director(built.lab, tmp_path)]))
    met.result()
    for play in plays:
        assert play.status == 0, play.output
    table = built.table()
    assert [sum(line.startswith(word) for line in table) for word in ("-A", "-a")] == [300, 3000]
    assert all(line.endswith(" -s rr") for line in table if line.startswith("-A"))
    assert not build(built, changed).changed


def test_a_vip_goes_with_its_last_service(built: Director) -> None:
    fewer = {**WEB, "addresses": VIPS[:-1]}
    last = {**WEB, "addresses": VIPS[-1:], "ports": PORTS[:1]}
    for services, count, held in (([fewer, last], 286, VIPS), ([fewer], 285, VIPS[:-1])):
        run = build(built, services)
        assert run.status == 0, run.output
        assert len([line for line in built.table() if line.startswith("-A")]) == count
        assert vips(built) == set(held)
        assert not build(built, services).changed


@pytest.fixture(scope="module")
def interpreters(director: Director) -> dict[str, str | None]:
    """The node's own Python, one without what is installed for it, and whichever Ansible finds."""
    director.lab.ssh(f"python3 -m venv --without-pip {PLACE}/venv")
    return {"counting": COUNTING, "venv": f"{PLACE}/venv/bin/python", "unset": None}


@pytest.mark.parametrize("name", ["counting", "venv", "unset"])
def test_arguments_larger_than_a_pipe(
    director: Director,
    interpreters: dict[str, str | None],
    name: str,
    record_property: Callable[[str, object], None],
) -> None:
    servers = [{"address": f"198.51.100.{2 + number // 10}", "port": 8000 + number % 10} for number in range(2000)]
    services = [{"address": "192.0.2.10", "port": 443, "forward": "nat", "servers": servers}]
    assert len(json.dumps(services)) > PIPE
    module = {"l4lb.ipvs.ipvs_table": {"services": services}}
    tasks: list[dict[str, Any]] = [
        {"name": "Build", **module, "register": "first"},
        {"name": "Build again", **module, "register": "second"},
        {"name": "Compare", "ansible.builtin.assert": {"that": ["first is changed", "second is not changed"]}},
    ]
    play = {"hosts": "ipvs_directors", "gather_facts": False}
    built = director.play([{**play, "tasks": tasks}], interpreter=interpreters[name])
    record_property("2,000 servers, two runs", f"{built.seconds:.1f} s")
    assert built.status == 0, built.output
    assert len([line for line in director.table() if " 192.0.2.10:443 " in line]) == 2001
    director.lab.ssh("ipvsadm -D -t 192.0.2.10:443")
