# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Whether systemd-networkd takes rules and routes away that it does not know (networkd.conf(5)). Read only."""

from __future__ import annotations

import glob
import os

from ._files import content
from ._values import FALSE_WORDS

ROOT = "/"
#: The service writes it as long as it runs.
STATE = "run/systemd/netif/state"
#: In falling precedence: a file masks those of the same name in the directories after its own.
DIRECTORIES = ("etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd", "lib/systemd")
#: What lets it do so unless it is off.
OPTIONS = ("ManageForeignRoutingPolicyRules", "ManageForeignRoutes")


def options_to_switch_off() -> list[str]:
    """Those of :data:`OPTIONS` that are on; none where the service does not run."""
    if not os.path.exists(os.path.join(ROOT, STATE)):
        return []
    files: dict[tuple[bool, str], str] = {}
    for directory in reversed(DIRECTORIES):
        main = os.path.join(ROOT, directory, "networkd.conf")
        for path in glob.glob(main) + glob.glob(f"{main}.d/*.conf"):
            # the main file is read before all others, whatever their names
            files[path != main, os.path.basename(path)] = path
    values: dict[str, str] = {}
    for dummy, path in sorted(files.items()):
        for line in content(path).splitlines():
            name, equals, value = line.partition("=")
            if equals:
                values[name.strip()] = value.strip().lower()
    return [name for name in OPTIONS if values.get(name, "yes") not in FALSE_WORDS]
