# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""What IPVS puts around a packet for a server that it tunnels to, in bytes (``ip_vs_xmit.c``). Pure.

The kernel allows for it by an ICMP message to the client, which firewalls between them like to drop. An MSS that leaves
room for it needs no message.
"""

from __future__ import annotations

from ._model import AF_INET, AF_INET6

#: The outer and the inner IP header, without options.
IP_HEADER = {AF_INET: 20, AF_INET6: 40}
#: A TCP header without options, which the MSS does not count (RFC 9293, section 3.7.1).
TCP_HEADER = 20
#: What stands between the two IP headers, by tunnel type and checksum. GRE has 4 bytes and 4 more with a checksum (RFC
#: 2784). GUE has 4 in UDP, whose checksum is within its 8; a remote checksum takes two fields of 4 (``net/gue.h``).
ENCAPSULATION = {
    ("ipip", "none"): 0,
    ("gre", "none"): 4,
    ("gre", "csum"): 8,
    ("gue", "none"): 12,
    ("gue", "csum"): 12,
    ("gue", "remcsum"): 20,
}


def overhead(tunnel_type: str, checksum: str, outer: int) -> int:
    """The bytes that a tunnel adds; ``outer`` is the family of the server's address."""
    return IP_HEADER[outer] + ENCAPSULATION[tunnel_type, checksum]


def mss(path_mtu: int, tunnel_type: str, checksum: str, outer: int, inner: int) -> int:
    """The largest segment that a client may send, so that it fits ``path_mtu`` from the director to the server inside
    the tunnel; ``inner`` is the family of the service.
    """
    return path_mtu - overhead(tunnel_type, checksum, outer) - IP_HEADER[inner] - TCP_HEADER
