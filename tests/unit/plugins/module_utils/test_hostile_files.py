# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever stands in a file that is read, what comes of it is a value or an error of ours."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.module_utils import _module, _owners, _ownership
from plugins.module_utils._errors import Findings, IpvsError
from plugins.module_utils._model import ServerKey, ServiceKey, parse_services
from plugins.module_utils._ownership import Register
from plugins.module_utils._source import load
from tests.unit import hostile
from tests.unit.conftest import start_keepalived

for_files = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

SERVICES = [
    {"address": "192.0.2.10", "port": 80, "scheduler_flags": ["sh-port"], "servers": [{"address": "198.51.100.11"}]},
    {"fwmark": 7, "family": "ipv6", "servers": []},
]
YAML = """
default: &default {scheduler: rr, persistence_timeout: 0x10}
services:
  - <<: *default
    address: 192.0.2.10
    port: 0120
    servers:
      - {address: 198.51.100.11, weight: 1_0}
      - !!binary aGVsbG8=
  - ? fwmark
    : 2001-02-03
    family: !!python/name:os.system ipv6
    ? [a, b]
    : !!set {a, b}
"""
COMMANDS = """# ours
-A -t 192.0.2.10:80 -s mh -b mh-port -p 300 -M 255.255.255.0
-a -t 192.0.2.10:80 -r 198.51.100.11:8080 -m -w 1 -x 5 -y 2
ipvsadm -A -f 7 -6 --scheduler 'wlc'
-a -f 7 -6 -r [2001:db8::11]:0 -i --tun-type gue --tun-port 6080 --tun-nocsum
"""


@pytest.mark.fuzz
@for_files
@given(
    st.one_of(
        *map(hostile.torn, (YAML, COMMANDS, json.dumps(SERVICES))),
        hostile.damaged(SERVICES).map(json.dumps),
        hostile.JSON.map(json.dumps),
        st.text(),
    )
)
def test_src_holds_services_or_is_refused(tmp_path: Path, text: str) -> None:
    file, findings = tmp_path / "services", Findings()
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(IpvsError):
        found, dummy = load(str(file), findings)
        parse_services(found, "src", findings)
        findings.raise_problems()


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of what is ours, of this boot and namespace."""
    monkeypatch.setattr(_module, "STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(_module, "namespace_cookie", lambda: 1)
    monkeypatch.setattr(_ownership, "BOOT_ID", str(tmp_path / "boot_id"))
    (tmp_path / "boot_id").write_text("a boot\n")
    path = Path(Register().path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


WEB = [0, 2, 6, "c000020a", 80]
RECORD = {"boot_id": "a boot", "cookie": 1, "services": [WEB], "servers": [[WEB, [[2, "c633640b", 80]]]]}


@pytest.mark.fuzz
@for_files
@given(
    st.one_of(hostile.damaged(RECORD).map(json.dumps), hostile.torn(json.dumps(RECORD)), hostile.JSON.map(json.dumps))
)
def test_a_record_of_what_is_ours_is_understood_or_refused(record: Path, text: str) -> None:
    record.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(IpvsError):
        owned = Register().owned
        # what is taken for ours can be looked up, sorted and shown
        for key in sorted(owned.services):
            assert [type(part) for part in key] == [int, int, int, bytes, int], key
            assert ServiceKey(*key) == key
        for key, server in sorted(owned.servers):
            assert [type(part) for part in (*key, *server)] == [int, int, int, bytes, int, int, bytes, int]
            assert ServerKey(*server) == server


KEEPALIVED = """global_defs {
  net_namespace_ipvs web
}
include conf.d/*.conf
includea /etc/keepalived/{a,b}/[c]/x?.conf
@here virtual_server 192.0.2.10 80 {
}
"""


@pytest.mark.fuzz
@for_files
@given(
    st.dictionaries(
        st.sampled_from(["/etc/keepalived/keepalived.conf", "/etc/keepalived/conf.d/a.conf", "/etc/x"]),
        st.one_of(
            hostile.torn(KEEPALIVED),
            st.text("include \0*?[]{}/.\n!#@a", max_size=60).map(lambda more: f"include {more}"),
            st.text("/\0*?[]{}.a\t ", max_size=60).map(lambda more: f"net_namespace_ipvs {more}"),
        ),
        min_size=1,
    ),
    st.lists(st.text("-fuse=/ax\n", max_size=10), max_size=3),
)
def test_files_of_keepalived_are_read_whatever_they_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], arguments: list[str]
) -> None:
    proc = tmp_path / "proc"
    shutil.rmtree(proc, ignore_errors=True)
    (proc / "self" / "ns").mkdir(parents=True)
    (proc / "self" / "ns" / "net").touch()
    monkeypatch.setattr(_owners, "PROC", str(proc))
    monkeypatch.setattr(_module, "NETNS_DIR", str(tmp_path / "netns"))
    process = start_keepalived(proc, {}, *arguments)
    for path, text in files.items():
        file = process / "root" / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert all(one.startswith(("keepalived", "kube-proxy")) for one in _owners.owners())
