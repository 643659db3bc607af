# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the unit tests: a module's real main(), run in this process."""

from __future__ import annotations

import gc
import importlib
import json
import os
import secrets
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import hypothesis
import pytest
from ansible.module_utils import basic

from plugins.module_utils import _client, _kernel, _management, _module, _owners
from plugins.module_utils._model import AF_INET, Table
from tests.unit.fake_kernel import SCHEDULERS, Dest, Kernel, VirtualService
from tests.unit.fake_nft import FakeNft

# Module files import the utilities by the collection's name, tests by their place: one object under both.
for place in ("", *(f".{path.stem}" for path in Path(_module.__file__).parent.glob("_*.py"))):
    utility = importlib.import_module(f"plugins.module_utils{place}")
    sys.modules[f"ansible_collections.l4lb.ipvs.plugins.module_utils{place}"] = utility

# A machine under load is slow, which is no fault of the code.
hypothesis.settings.register_profile(
    "unit", deadline=None, max_examples=50, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
# `make soak`: the tests with the marker fuzz alone.
hypothesis.settings.register_profile(
    "fuzz", hypothesis.settings.get_profile("unit"), max_examples=1000, print_blob=True
)
hypothesis.settings.load_profile("unit")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fuzz: meets what nobody should give; in make soak")
    if config.option.hypothesis_profile == "fuzz" and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = secrets.randbelow(2**32)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.option.hypothesis_profile == "fuzz":
        seed = config.option.hypothesis_seed
        again = f"python -m pytest tests/unit -m fuzz --hypothesis-profile=fuzz --hypothesis-seed={seed}"
        terminalreporter.write_line(f"the same examples again: {again}")


class ModuleExit(Exception):
    """Stands for the end of the module's process; carries its result."""


@pytest.fixture
def run_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Callable[..., dict[str, Any]]]:
    """run_main(main, params, check=False, diff=False) -> the result; a failure is a result with ``failed: True``.

    Warnings are in ``result["warnings"]``. The lock lives in the test's own directory.
    """
    monkeypatch.setattr(_module, "STATE_DIR", str(tmp_path / "lock"))
    monkeypatch.setattr(_module, "namespace_cookie", lambda: 1)

    def run(main: Callable[[], None], params: dict[str, Any], check: bool = False, diff: bool = True) -> dict[str, Any]:
        warnings: list[str] = []

        def leave(dummy: Any, failed: bool = False, **result: Any) -> None:
            raise ModuleExit({"failed": failed, "warnings": warnings, **json.loads(json.dumps(result))})

        arguments = {
            **params,
            "_ansible_check_mode": check,
            "_ansible_diff": diff,
            "_ansible_remote_tmp": str(tmp_path),
        }
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        monkeypatch.setattr(basic.AnsibleModule, "exit_json", leave)
        monkeypatch.setattr(
            basic.AnsibleModule, "fail_json", lambda self, msg, **kw: leave(self, failed=True, msg=msg, **kw)
        )
        monkeypatch.setattr(basic.AnsibleModule, "warn", lambda dummy, warning: warnings.append(warning))
        with pytest.raises(ModuleExit) as caught:
            main()
        return caught.value.args[0]

    yield run
    gc.enable()  # a module's process ends; this one goes on


@pytest.fixture
def fake_nft(monkeypatch: pytest.MonkeyPatch) -> FakeNft:
    """The nft that modules run, on a host without tables."""
    fake = FakeNft()
    monkeypatch.setattr(_module.Task, "run", lambda dummy, argv, data=None: fake.run(argv, data))
    monkeypatch.setattr(_kernel, "module_loaded", lambda name: name == "nf_tables")
    return fake


class Machine:
    """What a module finds around the kernel's IPVS on its host: /proc, /sys, /lib/modules and modprobe."""

    def __init__(self, kernel: Kernel, root: Path) -> None:
        self.kernel = kernel
        self.proc, self.sys = root / "ip_vs", root / "sys_module"
        self.modules = root / "modules" / os.uname().release
        self.process, self.modules_disabled = root / "self", root / "modules_disabled"
        self.sys.mkdir()
        self.modules.mkdir(parents=True)
        names = ["ip_vs", "ip_vs_pe_sip", *(f"ip_vs_{name}" for name in SCHEDULERS)]
        self.provide(names)
        self.load()
        self.become()
        self.modules_disabled.write_text("0\n")

    def become(self, namespace: str = _kernel.INITIAL_USER_NAMESPACE, capabilities: int = (1 << 41) - 1) -> None:
        """Run in this user namespace, with these effective capabilities: without more words, as root of the host."""
        shutil.rmtree(self.process, ignore_errors=True)
        (self.process / "ns").mkdir(parents=True)
        (self.process / "ns" / "user").symlink_to(namespace)
        (self.process / "status").write_text(f"Name:\tpython3\nCapEff:\t{capabilities:016x}\nSeccomp:\t0\n")

    def provide(self, names: list[str]) -> None:
        """Have these modules under /lib/modules, and no others."""
        lines = [f"kernel/net/netfilter/ipvs/{name}.ko.xz: kernel/net/nf_conntrack.ko.xz" for name in names]
        (self.modules / "modules.dep").write_text("\n".join(lines) + "\n")
        (self.modules / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")

    def load(self) -> None:
        self.kernel.loaded = True
        self.proc.touch()

    def unload(self) -> None:
        """ip_vs is not loaded; modprobe loads it if /lib/modules has it."""
        self.kernel.loaded = False
        self.proc.unlink()

    def disable_ipv6(self) -> None:
        """As the kernel does with ipv6.disable=1."""
        self.kernel.ipv6 = False
        parameters = self.sys / "ipv6" / "parameters"
        parameters.mkdir(parents=True)
        (parameters / "disable").write_text("1\n")

    def run(self, argv: list[str], dummy_data: str | None = None) -> tuple[int, str, str]:
        self.kernel.ran.append(argv)
        if "/ip_vs.ko" not in (self.modules / "modules.dep").read_text():
            return 1, "", f"modprobe: FATAL: Module ip_vs not found in directory /lib/modules/{os.uname().release}\n"
        self.load()
        return 0, "", ""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A host with a fake kernel in it, ip_vs loaded."""
    machine = Machine(Kernel(), tmp_path)
    monkeypatch.setattr(_client.socket, "socket", machine.kernel.socket)
    monkeypatch.setattr(_client, "PROC_IPVS", str(machine.proc))
    monkeypatch.setattr(_kernel, "SYS_MODULE", str(machine.sys))
    monkeypatch.setattr(_kernel, "LIB_MODULES", str(tmp_path / "modules"))
    monkeypatch.setattr(_kernel, "PROC_SELF", str(machine.process))
    monkeypatch.setattr(_kernel, "MODULES_DISABLED", str(machine.modules_disabled))
    for one in (_owners, _management):
        monkeypatch.setattr(one, "PROC", str(tmp_path / "proc"))
    monkeypatch.setattr(_module.Task, "run", lambda dummy, argv, data=None: machine.run(argv, data))
    return machine


def start_keepalived(proc: Path, files: dict[str, str], *arguments: str) -> Path:
    """Have a keepalived that was started with these arguments, to which its host shows these files -> its /proc."""
    process = proc / "77"
    (process / "ns").mkdir(parents=True)
    (process / "comm").write_text("keepalived\n")
    (process / "exe").symlink_to("/usr/sbin/keepalived")
    (process / "status").write_text("Name:\tkeepalived\nUid:\t0\t0\t0\t0\n")
    (process / "cmdline").write_text("".join(f"{one}\0" for one in ("/usr/sbin/keepalived", *arguments)))
    for path, text in files.items():
        file = process / "root" / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return process


@pytest.fixture
def kernel(machine: Machine) -> Kernel:
    """The fake kernel that every client of this test talks to."""
    return machine.kernel


@pytest.fixture
def every_way(run_main: Callable[..., dict[str, Any]], kernel: Kernel) -> Callable[..., dict[str, Any]]:
    """every_way(main, params, before, after) -> the result of a module that changes the table from ``before`` to
    ``after`` (lines of ``ipvsadm -Sn``), and was seen to tell the same in check mode, with and without a diff, without
    writing, and to change nothing the second time.
    """

    def run(main: Callable[[], None], params: dict[str, Any], before: str, after: str) -> dict[str, Any]:
        def lines(text: str) -> list[str]:
            return sorted(filter(None, map(str.strip, text.splitlines())))

        kernel.restore(before)
        checked = run_main(main, params, check=True)
        assert not checked["failed"], checked["msg"]
        shown = checked["diff"]
        assert run_main(main, params, check=True, diff=False) == {
            name: value for name, value in checked.items() if name != "diff"
        }
        assert kernel.writes == []
        assert sorted(kernel.save()) == lines(before)

        done = run_main(main, params)
        assert done == checked
        assert sorted(kernel.save()) == lines(after)
        assert done["changed"] == (lines(before) != lines(after)) == bool(kernel.writes)
        assert len(done["operations"]) == len(kernel.writes)
        gone, come = (set(lines(one)) - set(lines(other)) for one, other in ((before, after), (after, before)))
        assert gone <= set(lines(shown["before"])) <= set(lines(before))
        assert come <= set(lines(shown["after"])) <= set(lines(after))

        written = len(kernel.writes)
        again = run_main(main, params)
        assert (again["changed"], again["operations"], again["diff"]) == (False, [], {"before": "", "after": ""})
        assert len(kernel.writes) == written
        return done

    return run


def hold(kernel: Kernel, table: Table) -> None:
    """Have the kernel hold this table, as if another program had made it."""
    kernel.services.clear()
    for key, (service, servers) in table.items():
        netmask = struct.pack("!I" if key.family == AF_INET else "=I", service.netmask)
        dests = {
            tuple(one.key): Dest(
                **{name: getattr(one, name) for name in ("forward", "weight", "upper", "lower")},
                **{name: getattr(one, name) for name in ("tunnel_type", "tunnel_port", "tunnel_flags")},
            )
            for one in servers.values()
        }
        identity = (key.family, key.fwmark, key.protocol, key.address, key.port)
        kernel.services[identity] = VirtualService(
            scheduler=service.scheduler,
            engine=service.engine,
            flags=service.flags | 2,
            timeout=service.timeout,
            netmask=netmask,
            dests=dests,
        )
        # the modules are there: the entry could not have been made otherwise
        kernel.schedulers.add(service.scheduler)
        kernel.engines.add(service.engine)


@pytest.fixture
def refused(run_main: Callable[..., dict[str, Any]], kernel: Kernel) -> Callable[..., str]:
    """refused(main, params) -> the message of a module that refuses its parameters without writing, and in check mode
    alike.
    """

    def run(main: Callable[[], None], params: dict[str, Any]) -> str:
        results = [run_main(main, params, check=check) for check in (False, True)]
        assert results[0] == results[1]
        assert results[0]["failed"]
        assert not results[0].get("changed")
        assert kernel.writes == []
        return str(results[0]["msg"])

    return run
