# Copyright: (c) 2026, The l4lb.ipvs authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection: nothing outside l4lb.ipvs may import it.

"""Whether systemd-networkd takes away rules, routes and addresses that it does not know (networkd.conf(5),
systemd.network(5)). Read only.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable

from ._files import content
from ._values import FALSE_WORDS, TRUE_WORDS

ROOT = "/"
#: The service writes it as long as it runs.
STATE = "run/systemd/netif/state"
#: In falling precedence: a file masks those of the same name in the directories after its own.
DIRECTORIES = ("etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd", "lib/systemd")
#: What lets it do so unless it is off.
OPTIONS = ("ManageForeignRoutingPolicyRules", "ManageForeignRoutes")
#: What it says of each link, by index; NETWORK_FILE is not there for one that it leaves alone.
LINKS = "run/systemd/netif/links"
#: The option of a .network file that lets addresses stay, and the words with which it does.
KEEP, KEEPING = "KeepConfiguration", ("static", *TRUE_WORDS)


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
    values = _assignments(path for dummy, path in sorted(files.items()))
    return [name for name in OPTIONS if values.get(name, "yes").lower() not in FALSE_WORDS]


def file_that_drops_addresses(index: int) -> str:
    """The .network file of the link, where the service takes away what the file does not name; else ""."""
    state = _assignments([os.path.join(ROOT, LINKS, str(index))])
    file = state.get("NETWORK_FILE", "")
    if not file or not os.path.exists(os.path.join(ROOT, STATE)):
        return ""
    name = os.path.basename(file)
    dropins = {
        os.path.basename(path): path
        for directory in reversed(DIRECTORIES)
        for path in glob.glob(
            os.path.join(glob.escape(os.path.join(ROOT, directory, "network", name)) + ".d", "*.conf")
        )
    }
    paths = [os.path.join(ROOT, file.lstrip("/")), *(dropins[one] for one in sorted(dropins))]
    return "" if _assignments(paths).get(KEEP, "no").lower() in KEEPING else name


def _assignments(paths: Iterable[str]) -> dict[str, str]:
    """The last value of each name in the files."""
    values: dict[str, str] = {}
    for path in paths:
        for line in content(path).splitlines():
            name, equals, value = line.partition("=")
            if equals:
                values[name.strip()] = value.strip()
    return values
