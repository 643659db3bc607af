# SPDX-License-Identifier: GPL-3.0-or-later
"""A running lab: its processes, its directory, and what can be done to its nodes."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from . import personal, ports, switch, topology
from .common import LabError, locked, make_private, runtime_directory, wait_for
from .image import Image, ensure_image
from .inventory import inventory, ssh_arguments
from .qemu import MEMORY, Agent, Machine, create_overlay, host_accelerator, process_of, start
from .snapshot import Snapshot, ensure_snapshot
from .topology import NAME, NAME_RULE, Node, Topology

STOP_SECONDS = 10


class Lab:
    """One lab, known by its name.

    Everything of a running lab is in its directory: ``lab.json`` (what it was made from), sockets, pid files, overlays
    and logs. ``ready`` is there once it is complete; without it, what is found was left by a command that died.

    :param say: Is told what is going on.
    """

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        if not NAME.fullmatch(name):
            raise LabError(f"--name: must be {NAME_RULE} (got {name!r})")
        self.name = name
        self.directory = runtime_directory() / name
        self.say = say

    # -- what is known of it ------------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        return (self.directory / "ready").exists()

    def _record(self) -> dict[str, Any]:
        if not self.exists:
            raise LabError(f"The lab {self.name!r} is not up: start it with `up`")
        record: dict[str, Any] = json.loads((self.directory / "lab.json").read_text())
        return record

    @property
    def topology(self) -> Topology:
        return topology.parse(self._record()["topology"])

    @property
    def snapshot(self) -> Snapshot:
        record = self._record()
        return Snapshot(Path(record["snapshot"]), Image(Path(record["image"])))

    def node(self, name: str) -> Node:
        nodes = self.topology.nodes
        if name not in nodes:
            raise LabError(f"no such node: {name!r} (known: {', '.join(nodes)})")
        return nodes[name]

    def machine(self, node: Node) -> Machine:
        record = self._record()
        numbered = enumerate(node.interfaces, 1)
        return Machine(
            name=node.name,
            directory=self.directory,
            image=Image(Path(record["image"])),
            accelerator=record["accelerator"],
            ssh_port=record["ports"][node.name],
            nics={
                number: (
                    switch.segment_socket(self.directory, segment),
                    switch.port_socket(self.directory, segment, node.name),
                )
                for number, segment in numbered
            },
            macs={number: node.mac(number) for number in range(1, len(node.interfaces) + 1)},
            memory=node.memory or MEMORY,
            gives_way=self.topology.gives_way(node),
        )

    def running(self, node: Node) -> bool:
        return process_of(self.machine(node).pid_file) is not None

    def inventory(self) -> dict[str, Any]:
        record = self._record()
        return inventory(self.topology, record["ports"], Image(Path(record["image"])).key)

    def ssh_command(self, node: Node, words: Iterable[str]) -> list[str]:
        machine = self.machine(node)
        options = ssh_arguments(machine.image.key, self.directory / "ssh-%p")
        return ["ssh", *options, "-p", str(machine.ssh_port), "root@127.0.0.1", *words]

    # -- its life -----------------------------------------------------------------------------------------------

    def up(self, source: Path) -> None:
        """Start the lab with the topology of the file *source*; leave nothing behind when that fails.

        A lab that is up with the same topology is left as it is.
        """
        wanted = topology.load(source)
        begin = time.monotonic()
        accelerator = host_accelerator()
        snapshot = ensure_snapshot(ensure_image(self.say), accelerator, self.say)
        runtime_directory().mkdir(mode=0o700, exist_ok=True)
        make_private(runtime_directory())
        with locked(self.directory):
            if self.exists:
                if self.topology != wanted:
                    raise LabError(f"The lab {self.name!r} is up with another topology: take it `down` first")
                self.say(f"The lab {self.name!r} is up already")
                return
            self._destroy_content()
            try:
                self._allocate(source, wanted, snapshot, accelerator)
                self._start_switch(wanted)
                (self.directory / "ready").touch()
                self._for_each(wanted.nodes.values(), self._fresh)
            except BaseException:
                self._destroy()
                raise
        self.say(f"The lab {self.name!r} is up: {', '.join(wanted.nodes)} ({time.monotonic() - begin:.1f} s)")

    def _allocate(self, source: Path, wanted: Topology, snapshot: Snapshot, accelerator: str) -> None:
        with locked(runtime_directory()):
            taken = {
                port
                for path in runtime_directory().glob("*/lab.json")
                for port in json.loads(path.read_text())["ports"].values()
            }
            record = {
                "topology": yaml.safe_load(source.read_text()),
                "ports": dict(zip(wanted.nodes, ports.free(len(wanted.nodes), taken))),
                "image": str(snapshot.image.directory),
                "snapshot": str(snapshot.directory),
                "accelerator": accelerator,
            }
            (self.directory / "lab.json").write_text(json.dumps(record, indent=1))

    def _start_switch(self, wanted: Topology) -> None:
        members = {
            segment: ",".join(node.name for node in wanted.nodes.values() if segment in node.interfaces)
            for segment in wanted.segments
        }
        command = [sys.executable, switch.__file__, str(self.directory)]
        log = self.directory / "switch.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, *(f"{segment}={names}" for segment, names in members.items())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

        def answers() -> bool:
            if process.poll() is not None:
                raise LabError(f"The switch ended at once:\n{log.read_text()}")
            try:
                switch.request(self.directory, command="state")
            except OSError:
                return False
            return True

        wait_for(answers, 30, "The switch does not answer", pid=process.pid)

    def _fresh(self, node: Node) -> None:
        """Start *node* from the snapshot and give it its name and addresses. A saved state fits only the hardware it
        was made with: a node with its own boots from the snapshot's disk.
        """
        machine = self.machine(node)
        create_overlay(machine.overlay, self.snapshot.disk, "qcow2")
        start(machine, None if node.memory else self.snapshot.state)
        with Agent(machine) as agent:
            if node.memory:
                agent.wait_ready()
            agent.run(personal.script(self.name, self.topology, node, time.time(), secrets.token_hex(32)))

    def reset(self) -> None:
        """Bring every node back to what it was after `up`; plug in all cables, end all captures."""
        begin = time.monotonic()
        nodes = self.topology.nodes.values()
        with locked(self.directory):
            self._stop([self.machine(node).pid_file for node in nodes])
            for segment in self.topology.segments:
                switch.request(self.directory, command="capture", segment=segment, file=None)
            for node in nodes:
                for segment in node.interfaces:
                    switch.request(self.directory, command="port", segment=segment, node=node.name, up=True)
            self._for_each(nodes, self._fresh)
        self.say(f"The lab {self.name!r} is as new ({time.monotonic() - begin:.1f} s)")

    def down(self) -> None:
        """End all processes of the lab and remove its files; also after a command that died."""
        if not self.directory.exists():
            self.say(f"The lab {self.name!r} is not up")
            return
        with locked(self.directory):
            self._destroy()
        self.say(f"The lab {self.name!r} is gone")

    def _destroy(self) -> None:
        self._destroy_content()
        self.directory.rmdir()
        # the directory of all labs goes with the last one
        with contextlib.suppress(OSError):
            runtime_directory().rmdir()

    def _destroy_content(self) -> None:
        self._stop(self.directory.glob("*.pid"))
        for path in self.directory.iterdir():
            path.unlink(missing_ok=True)

    @staticmethod
    def _stop(pid_files: Iterable[Path]) -> None:
        for pid_file in list(pid_files):
            pid = process_of(pid_file)
            if pid:
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda path=pid_file: process_of(path) is None, STOP_SECONDS, f"process {pid} does not end")  # type: ignore[misc]

    @staticmethod
    def _for_each(nodes: Iterable[Node], action: Callable[[Node], None]) -> None:
        """Do *action* to all nodes at once; wait for all, then raise the first error."""
        with ThreadPoolExecutor(max_workers=16) as pool:
            for future in [pool.submit(action, node) for node in nodes]:
                future.result()

    # -- its nodes ----------------------------------------------------------------------------------------------

    def reboot(self, name: str) -> None:
        """Reboot the node from inside, in good order, and wait until it is back."""
        machine = self.machine(self.node(name))
        if not process_of(machine.pid_file):
            raise LabError(f"{name} is switched off: `start` it")
        with Agent(machine) as agent:
            # the reboot may be faster than the answer
            agent.send("systemctl --no-block reboot")
            agent.wait_ready()

    def kill(self, name: str) -> None:
        """Cut the node's power."""
        self._stop([self.machine(self.node(name)).pid_file])

    def start(self, name: str) -> None:
        """Switch the node on again, with the disk it had, and wait until it has booted."""
        machine = self.machine(self.node(name))
        if process_of(machine.pid_file):
            raise LabError(f"{name} is running")
        start(machine)
        with Agent(machine) as agent:
            agent.wait_ready()

    def port(self, name: str, segment: str, up: bool) -> None:
        """Plug the node's cable to *segment* in or out."""
        node = self.node(name)
        if segment not in node.interfaces:
            raise LabError(f"{name} is not on a segment {segment!r} (it is on: {', '.join(node.interfaces)})")
        switch.request(self.directory, command="port", segment=segment, node=name, up=up)

    def capture(self, segment: str, path: Path | None) -> None:
        """Write all frames of *segment* to the pcap file *path*, or with None stop doing so."""
        if segment not in self.topology.segments:
            raise LabError(f"no such segment: {segment!r} (known: {', '.join(self.topology.segments)})")
        switch.request(self.directory, command="capture", segment=segment, file=str(path.absolute()) if path else None)

    def status(self) -> list[str]:
        """Lines for humans: each node with its state, ssh port and addresses, and each segment."""
        record = self._record()
        lines = []
        for node in self.topology.nodes.values():
            places = [
                f"{node.device(segment)}={segment}:{','.join(map(str, addresses))}"
                for segment, addresses in node.interfaces.items()
            ]
            state = "running" if self.running(node) else "off"
            lines.append(f"{node.name:15} {state:8} 127.0.0.1:{record['ports'][node.name]}  {' '.join(places)}")
        for segment, state in switch.request(self.directory, command="state").items():
            facts = [f"{state['frames']} frames"]
            facts += [f"{name} is cut off" for name, port in state["ports"].items() if not port["up"]]
            facts += [f"captured to {state['capture']}"] if state["capture"] else []
            lines.append(f"segment {segment}: {', '.join(facts)}")
        return lines
