# SPDX-License-Identifier: GPL-3.0-or-later
"""What the start of a module loads before its first byte to the kernel: what is not needed is not compiled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = """
import json, socket, sys
from ansible.module_utils import basic

def give(**parameters):
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": parameters}).encode()
    basic._ANSIBLE_PROFILE = "legacy"

class FirstByte(BaseException):
    pass

class Socket(socket.socket):
    def send(self, *dummy):
        raise FirstByte

give()
basic.AnsibleModule({})
empty = set(sys.modules)

from ansible_collections.l4lb.ipvs.plugins.module_utils import _client, _module
from ansible_collections.l4lb.ipvs.plugins.modules import ipvs_table

_client.PROC_IPVS = sys.argv[1]
_module.STATE_DIR = sys.argv[1]
socket.socket = Socket
server = {"address": "198.51.100.11", "port": 8443}
give(services=[{"address": "192.0.2.10", "port": 443, "scheduler": "rr", "forward": "nat", "servers": [server]}])
try:
    ipvs_table.main()
except FirstByte:
    print(json.dumps(sorted(sys.modules.keys() - empty)))
"""
UTILITIES = "argspec client converge errors hints model module plan policy tablespec values wire"


def test_a_table_loads_what_it_needs_and_nothing_of_the_standard_library(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT / "build" / "collections",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    loaded = json.loads(run.stdout)
    collection = ["ansible_collections", "ansible_collections.l4lb", "ansible_collections.l4lb.ipvs"]
    plugins = f"{collection[-1]}.plugins"
    utilities = [f"{plugins}.module_utils._{name}" for name in UTILITIES.split()]
    modules = [f"{plugins}.modules", f"{plugins}.modules.ipvs_table"]
    # gc is part of the interpreter
    assert loaded == [*collection, plugins, f"{plugins}.module_utils", *utilities, *modules, "gc"]
