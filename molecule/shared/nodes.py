# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the scenarios do with the nodes of the lab: read their state, make traffic, run playbooks.

A call of a node costs a good part of a second, so each brings back much and the thinking is done here.
As a command, ``nodes.py SCENARIO NAME`` records the state of the managed nodes under a name.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import testinfra
import yaml
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "molecule"
INVENTORY = BUILD / "lab.yml"
DIRECTOR = "director1"
MANAGED = ("ipvs_directors", "ipvs_backends")  # the groups of the nodes that the collection changes
CLIENT = "client"
#: Source ports that no program is given (ip_local_port_range). IPVS takes the answer of a NAT server for one to the
#: connection through it from the same port of the client, for two minutes after that is closed.
UNUSED_PORTS = "--first-source-port 62000"
GIVE_WAY = (str(ROOT / "tests" / "lab" / "give-way"), "15")
PATIENCE = 120  # seconds for one load, which waits for each connection
COUNTING = "/var/tmp/l4lb-counting-python"  # a Python that leaves a line in STARTS for each time it is started
STARTS = "/var/tmp/l4lb-starts"
STEADY_TIMEOUT = 10  # seconds for one connection of a steady load: enough for a third attempt where a packet is lost

# h2load tells how long the answers took; how long it took to begin the connections, the clock tells
STEADY_LOAD = """
ulimit -n 65536
echo "begin $(date +%%s.%%N)"
sh -c %s | while IFS= read -r line; do
  case $line in "progress: 100%%"*) line="$line; begun $(date +%%s.%%N)" ;; esac
  echo "$line"
done
"""

Report = TypeVar("Report")

# node -> part of its state -> what the commands of that part showed
States = dict[str, dict[str, str]]

# name of a part of the state -> the commands that show it
STATE = {
    "modules": "lsmod | tail -n +2 | cut -d ' ' -f 1 | sort",
    "sysctls": "sysctl -a -r '^net[.]ipv[46][.]|^net[.]netfilter[.]nf_conntrack_(max|tcp_timeout)' 2>/dev/null",
    "links": "ip -oneline -details link show",
    "addresses": "ip -oneline address show",
    "routes": "ip route show table all; ip -6 route show table all; ip rule; ip -6 rule",
    # ip would load fou
    "tunnel_ports": "if [ -e /sys/module/fou ]; then ip fou show; fi",
    "rules": "nft --stateless list ruleset",
    # ipvsadm would load ip_vs
    "table": """
        if [ -e /proc/net/ip_vs ]; then
            for option in '' --thresholds --persistent-conn --tun-info; do ipvsadm -Ln $option; done
            ipvsadm -Sn
        fi""",
    # ipvsadm sorts by itself; the kernel has the newest server of a service first
    "order": "if [ -e /proc/net/ip_vs ]; then ipvsadm -Ln --nosort; fi",
    # with links, which are what enables a unit
    "files": """
        find /etc /root /usr/local /usr/lib/systemd /usr/lib/sysctl.d /usr/lib/modules-load.d /var/lib \\
            -path /root/.ansible -prune -o ! -type d -printf '%p %m %u %s %T@ %l\\n' | sort""",
    "runtime": "find /run -name '*l4lb*ipvs*' -o -path '/run/l4lb*' -type f | sort",
}

#: The parts that traffic does not change, as it does the counts of the table.
LASTING = ("sysctls", "links", "addresses", "routes", "rules", "files")


def lab(*words: str) -> str:
    """Run a command of the scenarios' lab -> its output."""
    command = [str(ROOT / "molecule" / "shared" / "lab"), *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _inventory() -> dict[str, Any]:
    inventory: dict[str, Any] = yaml.safe_load(INVENTORY.read_text())["all"]
    return inventory


def hosts(group: str) -> list[str]:
    """The names of the nodes in a group of the lab."""
    return list(_inventory()["children"].get(group, {}).get("hosts", ()))


def managed() -> list[str]:
    """The names of the nodes that the collection changes: the directors and the backends."""
    return [name for group in MANAGED for name in hosts(group)]


@contextlib.contextmanager
def capturing(scenario: str, *segments: str) -> Iterator[dict[str, Path]]:
    """Capture what passes on segments until the block ends -> the file of each, for ``captures`` to read then."""
    files = {segment: BUILD / scenario / f"{segment}.pcap" for segment in segments}
    with contextlib.ExitStack() as stack:
        for segment, file in files.items():
            lab("capture", segment, "start", str(file))
            stack.callback(lab, "capture", segment, "stop")
        yield files


@functools.cache
def node(name: str) -> Host:
    """A node of the lab, for testinfra. Its commands share one ssh connection."""
    variables = _inventory()["hosts"][name]
    return testinfra.get_host(
        f"ssh://{variables['ansible_user']}@{variables['ansible_host']}:{variables['ansible_port']}",
        ssh_extra_args=variables["ansible_ssh_common_args"],
        controlpath="/tmp/l4lb-molecule-%%C",  # testinfra takes %% for %
    )


def mac(name: str, segment: str) -> str:
    """The hardware address of a node on a segment."""
    device = _inventory()["hosts"][name]["lab_devices"][segment]
    return node(name).check_output(f"cat /sys/class/net/{device}/address")


def state(name: str) -> dict[str, str]:
    """Everything of a node that the collection might touch, by the names of ``STATE``."""
    script = "\n".join(f"echo '=== {part}'\n{commands}" for part, commands in STATE.items())
    parts = re.split(r"^=== (.*)\n", node(name).check_output(script) + "\n", flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def states() -> States:
    """The state of each managed node, by its name."""
    names = managed()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(state, names)))


def lasting() -> States:
    """Of the states, what only somebody who changes a node changes."""
    return {name: {part: found[part] for part in LASTING} for name, found in states().items()}


def record(scenario: str, name: str) -> Path:
    """Where the states recorded under a name are."""
    return BUILD / scenario / f"{name}.json"


def recorded(scenario: str, name: str) -> States:
    """The states recorded under a name."""
    found: States = json.loads(record(scenario, name).read_text())
    return found


def sysctls(text: str) -> dict[str, str]:
    """The output of ``sysctl -a`` as a dict."""
    return {key: value for key, dummy, value in (line.partition(" = ") for line in text.splitlines())}


def _lan_keys(name: str) -> list[str]:
    return [f"net.ipv4.conf.{where}.{name}" for where in ("all", "eth1")]


def set_lan_sysctl(host: Host, name: str, value: int) -> None:
    """Give an IPv4 sysctl of interfaces a value on a node, for all and for eth1."""
    host.check_output(f"sysctl -w {' '.join(f'{key}={value}' for key in _lan_keys(name))}")


@contextlib.contextmanager
def lan_sysctl(host: Host, name: str, value: int) -> Iterator[None]:
    """Give an IPv4 sysctl of interfaces another value on a node, for all and for eth1, until the block ends."""
    keys = _lan_keys(name)
    before = [host.check_output(f"sysctl -n {key}") for key in keys]
    set_lan_sysctl(host, name, value)
    try:
        yield
    finally:
        for key, held in zip(keys, before):
            host.check_output(f"sysctl -w {key}={held}")


def nft_tables(text: str) -> dict[str, str]:
    """The output of ``nft list ruleset``, by ``FAMILY NAME`` of its tables."""
    return {part.partition(" {")[0]: part for part in re.findall(r"^table (.*?^})", text, re.MULTILINE | re.DOTALL)}


@dataclass(frozen=True)
class Run:
    """What a run of Ansible came to."""

    status: int
    output: str

    def total(self, counter: str) -> int:
        """The sum over all hosts of ``ok``, ``changed``, ``failed`` ... as the recap tells it."""
        counts = re.findall(rf"\b{counter}=(\d+)", self.output.rpartition("PLAY RECAP")[2])
        if not counts:
            raise AssertionError(f"the run has no recap:\n{self.output}")
        return sum(map(int, counts))


def ansible(scenario: str, program: str, *arguments: str) -> Run:
    """Run ``ansible`` or ``ansible-playbook`` on the nodes, with the inventory of the scenario.

    It gives way to the nodes, with which it shares processors here and nowhere else.
    """
    inventories = [f"--inventory={INVENTORY}", f"--inventory={ROOT / 'molecule' / scenario / 'inventory'}"]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_FORCE_COLOR": "false",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }
    run = subprocess.run(
        [*GIVE_WAY, program, *inventories, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        start_new_session=True,
    )
    return Run(run.returncode, run.stdout)


def playbook(scenario: str, name: str, *arguments: str) -> Run:
    """Run a playbook of the collection, or a file."""
    return ansible(scenario, "ansible-playbook", name, *arguments)


def counted(scenario: str, name: str, *arguments: str) -> tuple[Run, dict[str, int]]:
    """Run a playbook -> the run, and how often it started a module on each managed node.

    The nodes count themselves: some tasks start nothing there, and others, such as template, two modules.
    """
    script = f'#!/bin/sh\necho >> {STARTS}\nexec /usr/bin/python3 "$@"\n'
    for one in managed():
        node(one).check_output(f"printf %%s %s > {COUNTING}; chmod +x {COUNTING}; : > {STARTS}", script)
    run = playbook(scenario, name, "-e", f"ansible_python_interpreter={COUNTING}", *arguments)
    return run, {one: int(node(one).check_output(f"wc -l < {STARTS}")) for one in managed()}


def module(scenario: str, name: str, **arguments: Any) -> dict[str, Any]:
    """Run one module of the collection on the director -> its result."""
    given = ("-a", json.dumps(arguments)) if arguments else ()
    run = ansible(scenario, "ansible", DIRECTOR, "-m", f"l4lb.ipvs.{name}", *given)
    if run.status:
        raise AssertionError(run.output)
    result: dict[str, Any] = json.loads(run.output.partition("=>")[2])
    return result


def load(target: str, *arguments: str) -> dict[str, Any]:
    """Open connections from the client -> the report of l4lb-load, whether some failed or not."""
    run = node(CLIENT).run(f"timeout {PATIENCE} l4lb-load {target} {' '.join(arguments)}")
    if not run.stdout:
        raise AssertionError(run.stderr or f"{target} does not answer")
    report: dict[str, Any] = json.loads(run.stdout)
    return report


@dataclass(frozen=True)
class Piece:
    """What a piece of a steady load came to: connections answered, those that were not, by any reason, and how many
    were begun per second.
    """

    answers: int
    failures: int
    rate: float
    output: str


def steady_load(address: str, port: int, rate: int, seconds: int) -> Piece:
    """Open HTTP connections from the client at a rate, evenly, by h2load: an emulated processor lacks the strength to
    do it in Python, and httperf polls, so that the other nodes have less.

    :param rate: Connections a second, a multiple of 5. A machine that is slowed down begins fewer.
    """
    count = str(rate * seconds)
    host = f"[{address}]" if ":" in address else address
    evenly = ("--rate-period", "200ms", "-r", str(rate // 5))
    words = ("h2load", "--h1", "-n", count, "-c", count, *evenly, "-N", f"{STEADY_TIMEOUT}s", f"http://{host}:{port}/")
    output = node(CLIENT).check_output(STEADY_LOAD, shlex.join(words))

    def numbers(pattern: str) -> list[str]:
        found = re.search(pattern, output)
        if not found:
            raise AssertionError(output)
        return list(found.groups())

    answers, failures = map(int, numbers(r"(\d+) succeeded, (\d+) failed"))
    begin, begun = map(float, numbers(r"(?s)begin ([\d.]+)\n.* begun ([\d.]+)\n"))
    return Piece(answers, failures, rate * seconds / (begun - begin), output)


def begun(pieces: Sequence[Piece]) -> float:
    """How many connections a second were begun over pieces of one length."""
    return statistics.harmonic_mean(piece.rate for piece in pieces)


@contextlib.contextmanager
def under_load(make: Callable[[], Report]) -> Iterator[list[Report]]:
    """Make one piece of a load after the other until the block ends -> what each returned, complete after the block."""
    stop = threading.Event()
    reports: list[Report] = []

    def repeat() -> None:
        while not stop.is_set():
            reports.append(make())

    with concurrent.futures.ThreadPoolExecutor() as pool:
        making = pool.submit(repeat)
        try:
            yield reports
        finally:
            stop.set()
        making.result()


def main() -> None:
    path = record(*sys.argv[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(states(), indent=1))


if __name__ == "__main__":
    main()
