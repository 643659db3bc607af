# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot every node starts from: a machine that has booted once, saved with its disk and memory."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import ports
from .common import cache_directory, locked
from .image import Image
from .inventory import ssh_arguments
from .qemu import Agent, Machine, create_overlay, process_of, save, start, version

# Brings what tests will use into the memory of the node, and leaves no module behind: nodes start with a clean kernel.
WARM = """
before=$(lsmod | cut -d' ' -f1)
for module in ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_fo ip_vs_ovf ip_vs_lblc ip_vs_lblcr ip_vs_sh ip_vs_dh \\
    ip_vs_sed ip_vs_nq ip_vs_mh nf_conntrack nf_tables nft_chain_nat nft_masq nft_ct nf_conntrack_netlink dummy; do
    modprobe "$module" || exit 1
done
ipvsadm -Ln
nft list ruleset
ip -brief address
sysctl -a
python3 -c '
import ast, base64, fcntl, grp, hashlib, json, locale, logging, os, platform, pwd, re, select, selectors, shlex
import shutil, signal, socket, ssl, subprocess, syslog, tempfile, traceback, types, uuid, zipfile
import apt, pyroute2
pyroute2.IPRoute().get_links()
'
for round in 1 2 3 4 5 6; do
    for module in $(lsmod | tail -n +2 | awk '$3 == 0 {print $1}'); do
        case " $(echo $before) " in *" $module "*) ;; *) rmmod "$module" ;; esac
    done
done
sync
"""


@dataclass(frozen=True)
class Snapshot:
    """The files of a snapshot, and the image it was made from."""

    directory: Path
    image: Image

    @property
    def disk(self) -> Path:
        """The disk at the moment of the snapshot: qcow2 over the image, never written to again."""
        return self.directory / "disk.qcow2"

    @property
    def state(self) -> Path:
        """The machine's memory and devices, in QEMU's migration format."""
        return self.directory / "state"


def snapshot_hash(image: Image, accelerator: str, qemu_version: str) -> str:
    """A short hash of everything a saved state depends on: image, QEMU, virtual hardware, and what was warmed."""
    anywhere = Path("/")
    machine = Machine("template", anywhere, Image(anywhere), accelerator, 0)
    parts = (image.directory.name, qemu_version, *machine.command(), WARM)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _make(image: Image, accelerator: str, directory: Path, say: Callable[[str], None]) -> None:
    snapshot = Snapshot(directory, image)
    # the paths of sockets must be short, and the cache may be anywhere
    with tempfile.TemporaryDirectory(prefix="l4lb-lab-", dir="/tmp") as name:
        machine = Machine("template", Path(name), image, accelerator, ports.free(1)[0])
        create_overlay(machine.overlay, image.disk, "raw")
        begin = time.monotonic()
        try:
            start(machine)
            with Agent(machine) as agent:
                agent.wait_ready()
                say(f"Booted in {time.monotonic() - begin:.1f} s")
                agent.run(WARM)
            login = [*ssh_arguments(image.key), "-o", "ControlPath=none", "-p", str(machine.ssh_port)]
            subprocess.run(["ssh", *login, "root@127.0.0.1", "true"], check=True, stdin=subprocess.DEVNULL)
            save(machine, snapshot.state)
        finally:
            pid = process_of(machine.pid_file)
            if pid:
                os.kill(pid, signal.SIGKILL)
        shutil.move(machine.overlay, snapshot.disk)


def ensure_snapshot(image: Image, accelerator: str, say: Callable[[str], None]) -> Snapshot:
    """Return the snapshot of *image*, making it first when the cache does not have it.

    :param say: Is told about what takes long.
    """
    cache = cache_directory()
    directory = cache / f"snapshot-{snapshot_hash(image, accelerator, version())}"
    with locked(cache):
        if not directory.exists():
            say(f"Booting a machine ({accelerator}) to take the snapshot that nodes start from, once")
            begin = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="building-", dir=cache) as name:
                unfinished = Path(name) / "snapshot"
                unfinished.mkdir()
                _make(image, accelerator, unfinished, say)
                unfinished.rename(directory)
            say(f"Snapshot taken in {time.monotonic() - begin:.0f} s")
    return Snapshot(directory, image)
