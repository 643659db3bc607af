# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the lab."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import yaml

from .common import LabError, say
from .lab import Lab

TOPOLOGIES = Path(__file__).parent.parent / "topologies"


def topology_file(text: str) -> Path:
    """A path, or the bare name of a topology that comes with the lab."""
    shipped = TOPOLOGIES / f"{text}.yml"
    return shipped if shipped.is_file() else Path(text)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="lab", description="Small virtual machines on private networks, for tests.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default="default", help="which lab (default: %(default)s)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    known = ", ".join(sorted(path.stem for path in TOPOLOGIES.glob("*.yml")))
    up = add("up", "start a lab; image and snapshot are made when they are missing")
    up.add_argument("--topology", type=topology_file, default="nat", help=f"a file, or one of: {known} (%(default)s)")
    add("down", "end a lab and remove everything of it")
    add("status", "show the nodes and segments of a lab")
    add("reset", "bring all nodes back to what they were after `up`")
    out = add("inventory", "write the Ansible inventory of a lab")
    out.add_argument("--output", type=Path, help="a file; default: standard output")
    ssh = add("ssh", "log in to a node, or run a command there")
    ssh.add_argument("node")
    ssh.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    for name, text in (
        ("reboot", "reboot a node and wait until it is back"),
        ("kill", "cut the power of a node"),
        ("start", "switch a node on again and wait until it has booted"),
    ):
        add(name, text).add_argument("node")
    port = add("port", "plug the cable of a node in or out")
    port.add_argument("node")
    port.add_argument("segment")
    port.add_argument("state", choices=("up", "down"))
    capture = add("capture", "write what passes on a segment to a pcap file")
    capture.add_argument("segment")
    capture.add_argument("action", choices=("start", "stop"))
    capture.add_argument("file", nargs="?", type=Path)
    return top


def write_inventory(lab: Lab, output: Path | None) -> None:
    text = yaml.safe_dump(lab.inventory(), sort_keys=False, width=1000)
    if output:
        output.write_text(text)
    else:
        sys.stdout.write(text)


def ssh(lab: Lab, node: str, words: list[str]) -> None:
    command = lab.ssh_command(lab.node(node), words)
    os.execvp(command[0], command)


def run(options: argparse.Namespace) -> None:
    lab = Lab(options.name, say)
    if options.command == "capture" and (options.action == "start") != bool(options.file):
        raise LabError("capture: `start` takes a FILE, `stop` takes none")
    actions: dict[str, Callable[[], None]] = {
        "up": lambda: lab.up(options.topology),
        "down": lab.down,
        "status": lambda: print("\n".join(lab.status())),
        "reset": lab.reset,
        "inventory": lambda: write_inventory(lab, options.output),
        "ssh": lambda: ssh(lab, options.node, options.words),
        "reboot": lambda: lab.reboot(options.node),
        "kill": lambda: lab.kill(options.node),
        "start": lambda: lab.start(options.node),
        "port": lambda: lab.port(options.node, options.segment, options.state == "up"),
        "capture": lambda: lab.capture(options.segment, options.file),
    }
    actions[options.command]()


def interrupted(number: int, dummy: FrameType | None) -> None:
    sys.exit(128 + number)  # an exception, so that what was begun is taken back


def main(words: list[str] | None = None) -> int:
    options = parser().parse_args(words)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, interrupted)
    try:
        run(options)
    except LabError as error:
        say(str(error))
        return 1
    return 0
