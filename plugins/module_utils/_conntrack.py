# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""The connections that the kernel tracks, as conntrack(8) tells and deletes them."""

from __future__ import annotations

from collections.abc import Collection

from . import _kernel
from ._errors import Forbidden, IpvsError
from ._model import FAMILIES, PROTOCOLS, ServiceKey, word_of
from ._module import Task
from ._values import show_address

GONE = "such conntrack doesn't exist"
ATTEMPTS = 100
#: The kernel module that conntrack(8) asks.
NETLINK = "nf_conntrack_netlink"


def check_installed(task: Task) -> None:
    """:raises Unavailable: the command conntrack is not installed."""
    task.run(["conntrack", "--version"])


def forget_untranslated(task: Task, services: Collection[ServiceKey]) -> int:
    """Forget the connections to services that expect their answers from the service's own address -> how many there
    were. Once IPVS has translated a packet they are expected from the server (``ip_vs_update_conntrack`` in
    ip_vs_nfct.c). Those to a service by firewall mark cannot be told from others: nothing is known of where they go.
    In check mode they are only counted, where the kernel can tell them without loading a module.

    :raises Unavailable: the command conntrack is not installed.
    :raises Forbidden: the process lacks CAP_NET_ADMIN.
    :raises IpvsError: conntrack says no.
    """
    if task.check_mode and not _kernel.module_loaded(NETLINK):
        # asking would load it, and what it needs
        if any(not one.fwmark for one in services) and _kernel.module_loaded("nf_conntrack"):
            task.warn(f"check mode does not load {NETLINK}, so the connections to forget are not counted")
        return 0
    action = "-L" if task.check_mode else "-D"
    found = (_listed(task, [action, *_untranslated(service)]) for service in sorted(services) if not service.fwmark)
    return sum(len(connections) for connections in found)


def _untranslated(service: ServiceKey) -> list[str]:
    """The options that choose the connections. ``--status UNSET`` is not among them: conntrack 1.4.7 takes it for any
    with ``-D``, and for invalid with ``-L``.
    """
    address = show_address(service.address)
    port = ["--dport", str(service.port)] if service.port else []
    layers = ["-f", word_of(FAMILIES, service.family), "-p", word_of(PROTOCOLS, service.protocol)]
    return [*layers, *port, "--orig-dst", address, "--reply-src", address]


def _listed(task: Task, options: list[str]) -> list[str]:
    """The lines of the connections. It fails too where there is none to delete, and then says so. Where one that it is
    about to delete has ended meanwhile, it gives up in the middle (``delete_cb`` in conntrack.c) and has to begin anew.
    """
    lines: list[str] = []
    for dummy in range(ATTEMPTS):
        dummy_status, output, said = task.run(["conntrack", *options])
        lines += output.splitlines()
        if GONE not in said:
            break
    if "flow entries have been" in said:
        return lines
    if "Operation not permitted" in said:
        raise Forbidden("reading and forgetting connections needs CAP_NET_ADMIN; run the task with become")
    raise IpvsError(f"conntrack could not tell its connections: {said.strip() or 'no reason given'}")
