# SPDX-License-Identifier: GPL-3.0-or-later
"""An Ansible module that does nothing but tell the bench, by a netlink byte, when it has begun."""

from __future__ import annotations

import socket
import struct

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16) as sock:
        sock.send(struct.pack("=IHHII", 16, 1, 0, 0, 0))  # NLMSG_NOOP
    module.exit_json()


if __name__ == "__main__":
    main()
