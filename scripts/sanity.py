#!/usr/bin/env python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs ``ansible-test sanity`` on a clean copy of the checkout: what git tracks or would track, and nothing else.

ansible-test wants its collection below ``ansible_collections/l4lb/ipvs`` and asks git for the files.
Arguments are handed on, for example ``scripts/sanity.py --test validate-modules``.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from checkout import ROOT, copy_checkout

COPY = ROOT / "build" / "sanity" / "ansible_collections" / "l4lb" / "ipvs"
CACHE = Path("~/.ansible/test/cache").expanduser()

GET_PIP = '''\
"""Installs pip from the wheel that Python carries: the stand-in where the bootstrap script cannot be downloaded."""
import subprocess
import sys

subprocess.check_call([sys.executable, "-m", "ensurepip"])
options = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *options]))
'''


@contextlib.contextmanager
def get_pip_provided() -> Iterator[None]:
    """Lend ansible-test's cache a stand-in for pip's bootstrap script, unless a real one is there already."""
    spec = find_spec("ansible_test")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("ansible-test is not installed: run make setup")
    source = Path(spec.submodule_search_locations[0], "_internal", "python_requirements.py").read_text()
    versions = re.findall(r"\bpip='([\d.]+)'", source)
    missing = [
        script for version in versions if not (script := CACHE / f"get_pip_{version.replace('.', '_')}.py").exists()
    ]
    CACHE.mkdir(parents=True, exist_ok=True)
    for script in missing:
        script.write_text(GET_PIP)
    try:
        yield
    finally:
        for script in missing:
            script.unlink(missing_ok=True)


def main() -> int:
    copy_checkout(COPY)
    version = "{}.{}".format(*sys.version_info)
    command = ["ansible-test", "sanity", "--local", "--python", version, "--junit", "--color", "no", *sys.argv[1:]]
    with get_pip_provided():
        return subprocess.run(command, cwd=COPY, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
