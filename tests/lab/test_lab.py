# SPDX-License-Identifier: GPL-3.0-or-later
"""Boots two labs side by side and does to them all that a test may want."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.ipvs_lab.common import runtime_directory
from tests.lab.ipvs_lab.qemu import process_of

pytestmark = pytest.mark.lab

COMMAND = Path(__file__).parent / "lab"
PAIR = """\
segments: [lan]
groups: {ipvs_backends: [backend1], lab_clients: [client]}
nodes:
  client:
    interfaces: {lan: [198.51.100.10/24, "2001:db8::10/64"]}
  backend1:
    interfaces: {lan: [198.51.100.11/24, "2001:db8::11/64"]}
    sysctls: {net.ipv4.conf.all.arp_ignore: 1}
    serve: {tcp: [80], udp: [53], sctp: [3868]}
"""
# two addresses per lab and the same in both: what crosses over would be seen
NAMES = (f"test-{os.getpid() % 100000}-a", f"test-{os.getpid() % 100000}-b")


def lab(name: str, command: str, *words: str, check: bool = True) -> str:
    process = subprocess.run(
        [str(COMMAND), command, "--name", name, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
    )
    if check:
        assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def on(name: str, node: str, command: str, check: bool = True) -> str:
    return lab(name, "ssh", node, command, check=check)


def load(name: str, target: str, *options: str) -> dict[str, Any]:
    """Run l4lb-load on the client, and return what it counted."""
    output = on(name, "client", f"l4lb-load {target} --timeout 20 {' '.join(options)}", check=False)
    counted: dict[str, Any] = json.loads(output)
    return counted


def processes(directory: Path) -> list[int]:
    """All living processes that know the directory."""
    needle = os.fsencode(directory) + b"/"
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(needle in word + b"/" for word in words):
            found.append(int(path.name))
    return found


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    topology = tmp_path_factory.mktemp("lab") / "pair.yml"
    topology.write_text(PAIR)
    try:
        for name in NAMES:
            lab(name, "up", "--topology", str(topology))
        yield NAMES
    finally:
        for name in NAMES:
            lab(name, "down")


def test_two_labs_are_apart(labs: tuple[str, str]) -> None:
    one, two = labs
    on(one, "backend1", "hostname one")
    assert on(one, "backend1", "hostname") == "one\n"
    assert on(two, "backend1", "hostname") == "backend1\n"
    ports = [
        host["ansible_port"]
        for name in labs
        for host in yaml.safe_load(lab(name, "inventory"))["all"]["hosts"].values()
    ]
    assert len(set(ports)) == 4
    # nothing of one lab's traffic reaches the other
    lab(two, "port", "backend1", "lan", "down")
    assert "1 received" in on(one, "client", "ping -c 1 -W 5 198.51.100.11")
    assert "0 received" in on(two, "client", "ping -c 1 -W 1 198.51.100.11", check=False)
    lab(two, "port", "backend1", "lan", "up")


def test_all_give_way_to_the_client(labs: tuple[str, str]) -> None:
    for name in labs:
        pids = {node: process_of(runtime_directory() / name / f"{node}.pid") for node in ("client", "backend1")}
        for node, worse in (("client", 0), ("backend1", 8)):
            assert os.getpriority(os.PRIO_PROCESS, pids[node] or 0) == os.getpriority(os.PRIO_PROCESS, 0) + worse
            group = Path(f"/proc/{pids[node]}/autogroup")
            assert not group.exists() or group.read_text().endswith(f" nice {worse}\n")


def test_responder_and_load_tool(labs: tuple[str, str]) -> None:
    name = labs[0]
    lab(name, "reset")
    counted = load(name, "198.51.100.11:80", "--count 20 --first-source-port 20000 --source-ports 10")
    assert counted["answers"] == {"backend1": 20}
    assert counted["client_seen"] == {"198.51.100.10": 20}
    assert counted["by_source_port"] == {str(port): {"backend1": 2} for port in range(20000, 20010)}
    assert load(name, "[2001:db8::11]:80")["client_seen"] == {"2001:db8::10": 1}
    assert load(name, "198.51.100.11:53", "--udp")["client_seen"] == {"198.51.100.10": 1}
    assert load(name, "[2001:db8::11]:53", "--udp")["client_seen"] == {"2001:db8::10": 1}
    assert load(name, "198.51.100.11:3868", "--sctp")["client_seen"] == {"198.51.100.10": 1}
    assert load(name, "[2001:db8::11]:3868", "--sctp --count 3")["answers"] == {"backend1": 3}
    assert load(name, "198.51.100.11:81", "--count 2")["errors"] == {"ECONNREFUSED": 2}
    assert on(name, "client", "curl -s http://198.51.100.11/") == "backend1 198.51.100.10\n"
    down = "curl -s -o /dev/null -w '%{size_download}' http://198.51.100.11/bytes/1000000"
    assert on(name, "client", down) == "1000000"
    up = "head -c 1000000 /dev/zero | curl -s -H Expect: --data-binary @- http://198.51.100.11/"
    assert on(name, "client", up) == "backend1 198.51.100.10\n"


def test_reset_brings_back_the_pristine_node(labs: tuple[str, str]) -> None:
    name = labs[0]
    on(name, "client", "modprobe ip_vs; touch /etc/changed; ip address add 198.51.100.99/24 dev eth1; sync")
    lab(name, "port", "client", "lan", "down")
    lab(name, "reset")
    facts = on(name, "client", "hostname; cat /etc/machine-id; lsmod; ls /etc; ip -brief address; date +%s")
    assert facts.startswith("client\n")
    for trace in ("ip_vs", "nf_conntrack", "changed", "198.51.100.99"):
        assert trace not in facts
    assert abs(int(facts.split()[-1]) - time.time()) < 60
    assert on(name, "backend1", "cat /etc/machine-id") not in facts
    assert load(name, "198.51.100.11:80")["answers"] == {"backend1": 1}


def test_unplugged_node_is_out_of_reach(labs: tuple[str, str]) -> None:
    name = labs[0]
    lab(name, "port", "backend1", "lan", "down")
    assert "backend1 is cut off" in lab(name, "status")
    assert "0 received" in on(name, "client", "ping -c 1 -W 1 198.51.100.11", check=False)
    lab(name, "port", "backend1", "lan", "up")
    assert "1 received" in on(name, "client", "ping -c 1 -W 5 198.51.100.11")


def test_capture_shows_what_passed(labs: tuple[str, str], tmp_path: Path) -> None:
    name, path = labs[0], tmp_path / "lan.pcap"
    lab(name, "capture", "lan", "start", str(path))
    on(name, "client", "ping -c 1 -W 5 -p 6c346c62 198.51.100.11")
    lab(name, "capture", "lan", "stop")
    assert path.read_bytes().count(b"l4lbl4lb") >= 2  # the request and its answer


def test_node_comes_back_from_reboot_and_power_cut(labs: tuple[str, str]) -> None:
    name = labs[0]
    boot = on(name, "backend1", "cat /proc/sys/kernel/random/boot_id")
    on(name, "backend1", "touch /etc/kept; sync")
    lab(name, "reboot", "backend1")
    assert on(name, "backend1", "cat /proc/sys/kernel/random/boot_id") != boot
    assert load(name, "[2001:db8::11]:80")["answers"] == {"backend1": 1}
    lab(name, "kill", "backend1")
    assert "backend1        off" in lab(name, "status")
    lab(name, "start", "backend1")
    assert load(name, "198.51.100.11:80")["answers"] == {"backend1": 1}
    kept = "ls /etc/kept; sysctl -n net.ipv4.conf.all.arp_ignore; systemctl --failed --no-legend"
    assert on(name, "backend1", kept) == "/etc/kept\n1\n"


def test_down_leaves_nothing(tmp_path: Path) -> None:
    name = f"{NAMES[0][:-1]}c"
    (tmp_path / "one.yml").write_text("{segments: [lan], nodes: {client: {interfaces: {lan: [198.51.100.10/24]}}}}")
    directory = runtime_directory() / name
    lab(name, "up", "--topology", str(tmp_path / "one.yml"))
    on(name, "client", "true")  # an ssh connection that persists
    port = yaml.safe_load(lab(name, "inventory"))["all"]["hosts"]["client"]["ansible_port"]
    assert process_of(directory / "client.pid")
    assert processes(directory)
    lab(name, "down")
    assert not directory.exists()
    deadline = time.monotonic() + 30
    while processes(directory) and time.monotonic() < deadline:
        time.sleep(0.1)  # ssh notices that its connection has gone
    assert processes(directory) == []
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_command_that_dies_midway(number: signal.Signals, tmp_path: Path) -> None:
    """An `up` that is asked to end takes back what it began; after one that is killed, `down` does."""
    name = f"{NAMES[0][:-1]}d"
    (tmp_path / "one.yml").write_text("{segments: [lan], nodes: {client: {interfaces: {lan: [198.51.100.10/24]}}}}")
    directory = runtime_directory() / name
    command = [str(COMMAND), "up", "--name", name, "--topology", str(tmp_path / "one.yml")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while not (directory / "client.pid").exists() and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(number)
        assert process.wait(60) != 0
    if number == signal.SIGKILL:
        lab(name, "down")
    assert not directory.exists()
    assert processes(directory) == []
