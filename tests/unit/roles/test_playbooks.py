# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks with canned modules: values of every kind in host variables, whatever the ansible-core."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.roles.canned import ROOT, Run, host_info, run

VIP = "198.51.100.100"
PASSWORD = "rehearsal"  # of values that hold nothing to protect


def encrypted(directory: Path, value: str) -> str:
    """The value as ansible-vault writes it into an inventory, on one line."""
    (directory / "password").write_text(PASSWORD)
    vault = [sys.executable, "-m", "ansible", "vault", "encrypt_string", "--vault-password-file", "password", value]
    done = subprocess.run(vault, cwd=directory, capture_output=True, text=True, check=True)
    return "!vault " + json.dumps("\n".join(line.strip() for line in done.stdout.splitlines()[1:]))


INVENTORY = """
all:
  vars:
    ansible_connection: local
    canned_names: [backend1, backend2]
    # what other people's inventories hold
    warranty_until: 2027-05-01
    rebooted: 2026-11-30 12:00:00
    rack: {{bought: 2024-02-29, units: [1, 2]}}
    prompt: !unsafe "{{{{ never.rendered }}}}"
    password: {vault}
    elsewhere: "{{{{ of_no_variable | default(omit) }}}}"
    broken: "{{{{ of_no_variable.at_all }}}}"
    ipvs_services:
      - name: web
        address: "{{{{ vip }}}}"
        port: 80
        scheduler: rr
        forward: dr
        servers_from: {{group: ipvs_backends, address: ipvs_address, weight: ipvs_weight}}
      - name: api
        address: "{{{{ vip }}}}"
        port: 8080
        scheduler: rr
        forward: nat
        pool: all
    ipvs_pools:
      all:
        servers_from: {{group: ipvs_backends, address: ipvs_address}}
    vip: {vip}
    ipvs_verify:
      default:
        pattern: ^\\S+
        names: "{{{{ dict(names | zip(names | map('extract', hostvars, 'ipvs_address'))) }}}}"
    names: "{{{{ groups.ipvs_backends }}}}"
  children:
    ipvs_directors:
      hosts:
        director1:
          canned: {director1}
        director2:
          canned: {director2}
          ipvs_director_vip: "{{{{ 'standby' if inventory_hostname == 'director2' else 'hold' }}}}"
    ipvs_backends:
      vars:
        ipvs_weight: "{{{{ 1 if inventory_hostname in groups.ipvs_backends else 2 }}}}"
      hosts:
        backend1:
          ipvs_address: {vault_address}
          canned: {backend1}
        backend2:
          ipvs_address: !unsafe 198.51.100.12
          canned: {backend2}
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A directory with an inventory of two directors and two backends."""
    hosts = {"director1": 1, "director2": 2, "backend1": 11, "backend2": 12}
    readings = {
        name: host_info(
            f"198.51.100.{last}/24", *([f"{VIP}/32"] if last == 1 else []), vips=[f"{VIP}/32"] if last > 10 else []
        )
        for name, last in hosts.items()
    }
    (tmp_path / "hosts.yml").write_text(
        INVENTORY.format(
            vault=encrypted(tmp_path, "secret"),
            vault_address=encrypted(tmp_path, "198.51.100.11"),
            vip=VIP,
            **{name: json.dumps({"ipvs_host_info": reading}) for name, reading in readings.items()},
        )
    )
    return tmp_path


def playbook(directory: Path, *arguments: str) -> Run:
    tags = ("--tags", "ipvs_director_run,ipvs_backend_run")
    return run(directory, "--vault-password-file", "password", *tags, *arguments)


def test_site_with_every_kind_of_value_in_host_variables(fleet: Path) -> None:
    done = playbook(fleet, "l4lb.ipvs.site")
    assert done.status == 0, done.output
    services = done.of("ipvs_table")["director1"]["services"]
    assert done.of("ipvs_table")["director2"]["services"] == services
    both = ["198.51.100.11", "198.51.100.12"]
    servers = [[(one["address"], int(one.get("weight", 1))) for one in service["servers"]] for service in services]
    assert servers == [[(address, 1) for address in both]] * 2
    assert {service["address"] for service in services} == {VIP}
    during, report = done.output.split("TASK [Show what was done]")
    assert [text.count("not checked: off_subnet") for text in (during, report)] == [1, 1], "one lint of the fleet"


OUTPUT = "[defaults]\nstdout_callback = ansible.builtin.minimal\ncallback_result_format = yaml\nforce_color = true\n"


def test_verify_with_every_kind_of_value_in_host_variables(fleet: Path) -> None:
    """Its report does not depend on what Ansible prints."""
    (fleet / "ansible.cfg").write_text(OUTPUT)
    report = ("--extra-vars", f"ipvs_verify_report={fleet / 'report'}")
    done = run(fleet, "--vault-password-file", "password", *report, "l4lb.ipvs.verify")
    assert done.status == 0, done.output
    assert done.of("ipvs_probe"), done.output
    assert {*json.loads((fleet / "report").read_text())[0]} >= {"line", "passed", "explained"}


#: A template whose result is made of the variables of hosts: all of them, or those of some.
HELD = (
    r"""^\s*\w+:\s*(?:>-\s*)?["']?{{\s*(?:hostvars|"""
    r"""[^{}]*map\('extract', hostvars\)(?:\s*\|\s*(?:select|reject)attr\([^)]*\))*)\s*}}"""
)


def test_no_variable_holds_the_variables_of_hosts() -> None:
    """On ansible-core 2.18 that is a text, which no date can be read back from, and as long as the fleet is large."""
    for sample in (
        """  all: "{{ names | map('extract', hostvars) }}"\n""",
        """  all: >-\n    {{ (names + others) | map('extract', hostvars)\n     | selectattr('a', 'defined') }}\n""",
        """  all: "{{ hostvars }}"\n""",
    ):
        assert re.search(HELD, sample, re.M), sample
    written = [path for part in ("roles", "playbooks") for path in (ROOT / part).rglob("*.yml")]
    assert [path for path in written if re.search(HELD, path.read_text(), re.M)] == []
