# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The modules of this host's kernel, loaded and loadable. A run that changes nothing does without."""

from __future__ import annotations

import os
from typing import Protocol

from ._errors import Unavailable
from ._files import content, opened, read

SYS_MODULE = "/sys/module"
LIB_MODULES = "/lib/modules"
PROC_SELF = "/proc/self"
MODULES_DISABLED = "/proc/sys/kernel/modules_disabled"
#: PROC_USER_INIT_INO of include/linux/proc_ns.h.
INITIAL_USER_NAMESPACE = "user:[4026531837]"
_CAP_SYS_MODULE = 1 << 16


class Runner(Protocol):
    """The part of :class:`_module.Task` that loading a module needs."""

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        """Run a command -> (exit status, standard output, standard error)."""


#: What to do where the kernel has no module of this name: kernels for clouds and containers leave most of them out.
INSTALL_MODULES = (
    "install the kernel's modules (Debian: linux-image-* without cloud in its name; "
    "Ubuntu: linux-image-generic instead of a -kvm kernel; Fedora, RHEL: kernel-modules-extra)"
)


def module_loaded(name: str) -> bool:
    """Whether the kernel has the module at work, loaded or built in."""
    if os.path.isdir(os.path.join(SYS_MODULE, name)):
        return True
    try:
        with opened(os.path.join(LIB_MODULES, os.uname().release, "modules.builtin")) as lines:
            return any(line.strip().endswith(f"/{name}.ko") for line in lines)
    except OSError:
        return False


def module_known(name: str) -> bool:
    """Whether the kernel has the module, loaded or not, as modprobe(8) finds it. True where that cannot be told."""
    if os.path.isdir(os.path.join(SYS_MODULE, name)):
        return True
    directory = os.path.join(LIB_MODULES, os.uname().release)
    endings = (f"/{name}.ko", f"/{name}.ko.xz", f"/{name}.ko.zst", f"/{name}.ko.gz")
    told = False
    for index in ("modules.dep", "modules.builtin"):
        try:
            with opened(os.path.join(directory, index)) as lines:
                told = True
                if any(line.split(":", 1)[0].strip().endswith(endings) for line in lines):
                    return True
        except OSError:
            continue
    return not told


def ipv6_disabled() -> bool:
    """Whether the kernel was told at its start to do without IPv6, which IPVS then refuses (ipv6_mod_enabled,
    net/netfilter/ipvs/ip_vs_ctl.c). False where that cannot be told.
    """
    return content(os.path.join(SYS_MODULE, "ipv6", "parameters", "disable")).strip() not in ("", "0")


def load_ipvs(runner: Runner) -> None:
    """Load ip_vs. A kernel before 5.12 does not do so by itself when netlink asks for it.

    :raises Unavailable: it is not there, or may not be loaded.
    """
    status, _dummy, error = runner.run(["modprobe", "ip_vs"])
    if status:
        raise _not_to_be_loaded(error.strip() or f"modprobe ended with {status}")


def check_loadable() -> None:
    """Foretell what :func:`load_ipvs` would fail at, without loading.

    :raises Unavailable: it is not there, or may not be loaded.
    """
    if not module_known("ip_vs"):
        raise _not_to_be_loaded("this host does not have it")
    if not _may_load():
        raise _not_to_be_loaded("this process may not load kernel modules")


def _may_load() -> bool:
    """Whether this process may load modules: with CAP_SYS_MODULE in the initial user namespace, unless all loading was
    forbidden (may_init_module, kernel/module/main.c). True where that cannot be told.
    """
    try:
        if read(MODULES_DISABLED).strip() == "1":
            return False
        if os.readlink(os.path.join(PROC_SELF, "ns", "user")) != INITIAL_USER_NAMESPACE:
            return False
        with opened(os.path.join(PROC_SELF, "status")) as lines:
            effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    except OSError:
        return True
    return bool(int(effective, 16) & _CAP_SYS_MODULE)


def _not_to_be_loaded(why: str) -> Unavailable:
    return Unavailable(
        f"the kernel module ip_vs is not loaded and cannot be loaded ({why}): {INSTALL_MODULES}, "
        "or load it on the host if this is a container"
    )
