# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""How a backend receives what directors tunnel to it: its devices, what they need of the kernel, and how large a
segment its clients may send. Pure.

One device receives all of a kind on an address of the host: IP in IP and GUE share one, because the kernel unpacks GUE
into it (``fou.c``), and GRE has another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..module_utils import _encapsulation, _text, _values
from ..module_utils._kernel import INSTALL_MODULES
from ..module_utils._model import AF_INET, AF_INET6
from ..module_utils._tunnel import MARK, Tunnel
from ._duties import Duty
from ._reading import Danger, setting

#: The kinds of device, by tunnel type, and the digit in its name, by the family of the outer packets.
KINDS = {"ipip": "ipip", "gue": "ipip", "gre": "gre"}
DIGITS = {AF_INET: 4, AF_INET6: 6}


def is_ours(interface: Mapping[str, Any]) -> bool:
    """Whether the interface is a tunnel or dummy of this collection."""
    return bool(interface["alias"].split()[:1] == [MARK])


def former_ports(interfaces: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ports of GUE that the devices ``wanted`` have had opened and need no more, one line each."""
    ports = {tunnel["name"]: {str(port) for port in tunnel.get("ports", ())} for tunnel in wanted}
    return [
        f"{one['name']} port {word}"
        for one in interfaces
        if is_ours(one) and one["name"] in ports
        for word in one["alias"].split()[2:]
        if word not in ports[one["name"]]
    ]


def device(duty: Duty) -> str:
    """The device that receives what is tunnelled to this server."""
    kind = KINDS[_text.server_params(duty.server)["tunnel_type"]]
    return f"l4lb-{kind}{DIGITS[duty.server.key.family]}"


def tunnels(duties: Sequence[Duty], dangers: list[Danger]) -> list[dict[str, Any]]:
    """The tunnels as ``ipvs_tunnel`` takes them; what one device cannot receive goes to ``dangers``."""
    found: dict[str, dict[str, Any]] = {}
    for duty in duties:
        params, name = _text.server_params(duty.server), device(duty)
        wish = {"name": name, "type": params["tunnel_type"], "local": duty.address}
        if wish["type"] == "gre" and params["tunnel_checksum"] == "csum":
            wish["checksum"] = "csum"
        tunnel = found.setdefault(name, wish)
        for key, what in (("local", "address"), ("checksum", "tunnel_checksum")):
            if tunnel.get(key, "none") != wish.get(key, "none"):
                values = f"{tunnel.get(key, 'none')} and {wish.get(key, 'none')}"
                text = f"{name} receives what is tunnelled to one {what} only, and the services name {values}"
                dangers.append(Danger(text))
        if wish["type"] == "gue":
            tunnel["type"] = "gue"
            tunnel["ports"] = sorted({*tunnel.get("ports", ()), params["tunnel_port"]})
    return [found[name] for name in sorted(found)]


def missing_modules(wanted: Sequence[Mapping[str, Any]], modules: Mapping[str, str]) -> list[Danger]:
    """The kernel modules that a device needs and this kernel does not have."""
    needed: set[str] = set()
    for tunnel in wanted:
        local = _values.address(tunnel["local"]) if "local" in tunnel else b""
        needed.update(Tunnel(tunnel["name"], tunnel["type"], local).modules)
    return [
        Danger(f"the module {name} is not available in this kernel: {INSTALL_MODULES}, or use another kind of device")
        for name in sorted(needed - modules.keys())
    ]


def filters(
    duties: Sequence[Duty],
    vips: Sequence[Mapping[str, Any]],
    given: Mapping[str, Any],
    host: Mapping[str, Any],
    dangers: list[Danger],
) -> dict[str, int]:
    """The reverse path filters under which tunnelled IPv4 arrives. The way back to the client is never the tunnel, so a
    strict filter drops it; a loose one asks that the device has an address, which is the VIP (fib_frontend.c,
    __fib_validate_source). The kernel takes the larger of all's and the device's value, so that without a VIP of its
    own a device needs 0 for both. Where all's is another, lowering it is left to the user, who is told what sets it:
    it protects other interfaces too. ``given`` are the user's own sysctls.
    """
    holding = {vip["interface"] for vip in vips if ":" not in vip["address"]}
    values = {}
    everywhere = setting(4, "all", "rp_filter")
    strict = _not_zero(everywhere, given, host)
    for name in sorted({device(duty) for duty in duties if duty.service.family == AF_INET}):
        key, needed = setting(4, name, "rp_filter"), 2 if name in holding else 0
        values[key] = needed
        # 0 is good for any device as long as all's is 0
        if str(given.get(key, needed)) not in {str(needed), *([] if strict else ["0"])}:
            text = (
                f"{key} is {given[key]} in ipvs_backend_sysctls, which drops what {name} receives: leave it to the role"
            )
            dangers.append(Danger(text))
        if name not in holding and strict:
            text = (
                f"{everywhere} {strict}, which drops what {name} receives, for it holds no VIP of its own: "
                "set it to 0 in ipvs_backend_sysctls, or tunnel to each VIP in one way"
            )
            dangers.append(Danger(text))
    return values


def _not_zero(key: str, given: Mapping[str, Any], host: Mapping[str, Any]) -> str:
    """What makes a sysctl another value than 0, now or at the next boot; empty if nothing does."""
    if key in given:
        return f"is {given[key]} in ipvs_backend_sysctls" if str(given[key]) != "0" else ""
    live, boot = host["sysctls"].get(key, 0), host["boot"].get(key)
    at_boot = f"{boot['file']} sets it to {boot['value']} at boot" if boot else "no file sets it at boot"
    return f"is {live} ({at_boot})" if live or (boot and boot["value"] != "0") else ""


def clamps(duties: Sequence[Duty], mtus: Mapping[str, int]) -> list[dict[str, Any]]:
    """The largest TCP segments by VIP, as ``ipvs_mss`` takes them; ``mtus`` are those of the paths from the director,
    by the address of the server.
    """
    sizes: dict[tuple[int, str], int] = {}
    for duty in duties:
        if not duty.traffic or "tcp" not in duty.traffic.protocols:
            continue
        params = _text.server_params(duty.server)
        size = _encapsulation.mss(
            mtus[duty.address],
            params["tunnel_type"],
            params.get("tunnel_checksum", "none"),
            duty.server.key.family,
            duty.service.family,
        )
        for vip in duty.vips:
            key = (duty.service.family, _values.show_address(vip))
            sizes[key] = min(size, sizes.get(key, size))
    return [{"address": address, "mss": size} for (dummy, address), size in sorted(sizes.items())]
