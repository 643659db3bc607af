# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What to say of a key that is not known: the key that was meant, or our word for that of another program."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

from ._errors import show_key

_NO_CHECKS = "health checks are not supported: run one beside this collection, which drains a server by weight 0"
_NO_TIMEOUT = "time-outs of connections are not supported here: set them by ipvsadm --set"

#: The words that people bring from keepalived, ipvsadm, ldirectord and ip_vs, for a service ...
SERVICE_WORDS = {
    **dict.fromkeys(("lb_algo", "lvs_sched", "lvs_method_algo", "algorithm", "sched"), "use scheduler"),
    **dict.fromkeys(("lb_kind", "lvs_method", "method", "mode", "forwarding", "forwarding_method"), "use forward"),
    **dict.fromkeys(("real_server", "real_servers", "real", "backends", "members", "dests", "upstream"), "use servers"),
    **dict.fromkeys(("virtual_server", "virtual", "vip", "ip", "virtual_address"), "use address"),
    **dict.fromkeys(("proto", "service_protocol"), "use protocol"),
    **dict.fromkeys(("persistence", "persistent", "timeout_persistence"), "use persistence_timeout"),
    **dict.fromkeys(("persistence_granularity", "granularity", "netmask"), "use persistence_netmask"),
    **dict.fromkeys(("pe", "pe_name", "persistence_engine_name"), "use persistence_engine"),
    **dict.fromkeys(("ops", "onepacket"), "use one_packet"),
    **dict.fromkeys(
        ("sh_port", "sh_fallback", "mh_port", "mh_fallback", "flags", "sched_flags"), "use scheduler_flags"
    ),
    **dict.fromkeys(("firewall_mark", "fw_mark", "mark_number"), "use fwmark, with family"),
    **dict.fromkeys(("ip_family", "af"), "use family, with fwmark"),
    **dict.fromkeys(("virtual_server_group", "group"), "use addresses and ports, or fwmark with mark"),
    "port_range": "a range of ports goes by a firewall mark: use fwmark, and ports in mark",
    "weight": "is of a server: use it in servers",
    **dict.fromkeys(
        *(("timeout", "timeouts", "tcp_timeout", "tcpfin_timeout", "udp_timeout"), _NO_TIMEOUT),
    ),
    **dict.fromkeys(
        (
            *("check", "checks", "health_check", "healthcheck", "delay_loop", "delay_before_retry", "retry", "alpha"),
            *("omega", "tcp_check", "http_get", "ssl_get", "smtp_check", "dns_check", "misc_check", "virtualhost"),
            *("connect_timeout", "checktype", "checkport", "checkinterval", "quiescent", "ha_suspend"),
            *("nb_get_retry", "warmup", "inhibit_on_failure", "on_failure"),
        ),
        _NO_CHECKS,
    ),
    **dict.fromkeys(
        ("quorum", "quorum_up", "quorum_down", "hysteresis"),
        "a quorum is not supported, because nothing checks servers",
    ),
    **dict.fromkeys(
        ("sorry_server", "fallback", "sorry_server_inhibit"),
        "a sorry server is not supported: with scheduler fo or ovf the server with the least weight is the last resort",
    ),
}
#: ... and for a server.
SERVER_WORDS = {
    **dict.fromkeys(("ip", "host", "name", "real_server", "server"), "use address"),
    **dict.fromkeys(("lb_kind", "lvs_method", "method", "mode", "forwarding"), "use forward"),
    **dict.fromkeys(("u_threshold", "uthreshold", "max_connections", "maxconn"), "use upper_threshold"),
    **dict.fromkeys(("l_threshold", "lthreshold", "min_connections"), "use lower_threshold"),
    **dict.fromkeys(("tun_type", "tunnel"), "use tunnel_type"),
    **dict.fromkeys(("tun_port",), "use tunnel_port"),
    **dict.fromkeys(("csum", "remcsum", "nocsum"), "use tunnel_checksum"),
    **dict.fromkeys(("scheduler", "lb_algo", "persistence_timeout"), "is of the service, for all its servers"),
    **{word: text for word, text in SERVICE_WORDS.items() if text == _NO_CHECKS},
}


class Hints(NamedTuple):
    """``keys`` may stand there as well, elsewhere or by another way; ``words`` are those of other programs."""

    keys: Collection[str] = ()
    words: Mapping[str, str] = MappingProxyType({})

    def of(self, name: object, known: Collection[str]) -> str:
        """What to say of a key ``name`` that is not among the ``known`` ones."""
        import difflib  # only a mistake needs it

        key = show_key(name)
        word = self.words.get(key.lower().replace("-", "_"))
        if word is not None:
            return word
        near = difflib.get_close_matches(key, [*known, *self.keys], 1)
        return f"did you mean {near[0]}?" if near else f"known: {', '.join([*known, *self.keys])}"


NO_HINTS = Hints()
