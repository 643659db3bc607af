# SPDX-License-Identifier: GPL-3.0-or-later
"""Loaded and loadable modules."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plugins.module_utils import _kernel
from plugins.module_utils._errors import Unavailable
from tests.unit.conftest import Machine


def test_a_module_is_known_if_it_is_loaded_loadable_or_built_in(machine: Machine) -> None:
    machine.provide(["ip_vs", "ip_vs_rr"])
    assert _kernel.module_known("ip_vs_rr")
    assert not _kernel.module_known("ip_vs_mh")
    (machine.sys / "ip_vs_mh").mkdir()
    assert _kernel.module_known("ip_vs_mh")
    (machine.modules / "modules.builtin").write_text("kernel/net/netfilter/ipvs/ip_vs_sh.ko\n")
    assert _kernel.module_known("ip_vs_sh")
    assert not _kernel.module_known("ip_vs_s")
    assert not _kernel.module_known("vs_sh")


@pytest.mark.parametrize("ending", [".ko", ".ko.xz", ".ko.zst", ".ko.gz"])
def test_packed_modules_are_known(machine: Machine, ending: str) -> None:
    (machine.modules / "modules.dep").write_text(f"kernel/net/ip_vs_rr{ending}: kernel/net/ip_vs{ending}\n")
    assert _kernel.module_known("ip_vs_rr")
    assert not _kernel.module_known("ip_vs")


def test_a_module_may_be_known_where_nothing_tells(machine: Machine) -> None:
    for index in machine.modules.iterdir():
        index.unlink()
    assert _kernel.module_known("ip_vs_mh")


def test_ipv6_is_there_unless_the_kernel_was_told_to_do_without(machine: Machine) -> None:
    assert not _kernel.ipv6_disabled()  # nothing tells
    machine.disable_ipv6()
    assert _kernel.ipv6_disabled()
    (machine.sys / "ipv6" / "parameters" / "disable").write_text("0\n")
    assert not _kernel.ipv6_disabled()


def test_ipvs_is_loaded(machine: Machine) -> None:
    machine.unload()
    _kernel.load_ipvs(machine)
    assert machine.kernel.ran == [["modprobe", "ip_vs"]]
    assert machine.kernel.loaded


def test_what_cannot_be_loaded_is_told_with_modprobes_words(machine: Machine) -> None:
    machine.unload()
    machine.provide([])
    with pytest.raises(Unavailable, match=r"cannot be loaded \(modprobe: FATAL: Module ip_vs not found in directory"):
        _kernel.load_ipvs(machine)


def test_a_silent_modprobe_is_told_by_its_status() -> None:
    class Silent:
        def run(self, dummy: list[str]) -> tuple[int, str, str]:
            return 3, "", ""

    with pytest.raises(Unavailable, match=r"\(modprobe ended with 3\)"):
        _kernel.load_ipvs(Silent())


def test_what_can_be_loaded_is_told_without_loading(machine: Machine) -> None:
    machine.unload()
    _kernel.check_loadable()
    machine.process.joinpath("status").unlink()  # nothing tells
    _kernel.check_loadable()
    assert machine.kernel.ran == []
    assert not machine.kernel.loaded


FORBIDDEN = "this process may not load kernel modules"


@pytest.mark.parametrize(
    ("hinder", "why"),
    [
        (lambda machine: machine.provide([]), "this host does not have it"),
        (lambda machine: machine.become(capabilities=0x1FFFFFEFFFF), FORBIDDEN),
        (lambda machine: machine.become(namespace="user:[4026532297]"), FORBIDDEN),
        (lambda machine: machine.modules_disabled.write_text("1\n"), FORBIDDEN),
    ],
    ids=["absent", "no CAP_SYS_MODULE", "another user namespace", "kernel.modules_disabled"],
)
def test_what_cannot_be_loaded_is_told_without_loading(
    machine: Machine, hinder: Callable[[Machine], object], why: str
) -> None:
    machine.unload()
    hinder(machine)
    with pytest.raises(Unavailable) as caught:
        _kernel.check_loadable()
    assert str(caught.value).startswith(f"the kernel module ip_vs is not loaded and cannot be loaded ({why}): install")
    assert machine.kernel.ran == []
