# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the bytecode of what Python compiles out of zip files. A module of Ansible is one, sent anew with each task,
and an emulated processor takes almost as long for its compilation as for its work. bytecode.pth loads this with every
Python of a node; what is kept is found by its source, so that nothing stale is ever run.
"""

import _imp
import marshal
import os
import types
import zipimport

PLACE = "/var/cache/l4lb-lab"

_compile = zipimport._compile_source  # type: ignore[attr-defined]


def _read(kept: str) -> types.CodeType | None:
    try:
        with open(kept, "rb") as file:
            return marshal.load(file)  # type: ignore[no-any-return]
    except (OSError, EOFError, ValueError, TypeError):  # none yet, or cut off by a reboot
        return None


def _compile_once(path: str, source: bytes) -> types.CodeType:
    kept = f"{PLACE}/{_imp.source_hash(0, source).hex()}"
    found = _read(kept)
    if found:
        return found
    code: types.CodeType = _compile(path, source)
    try:
        os.makedirs(PLACE, exist_ok=True)
        unfinished = f"{kept}.{os.getpid()}"
        with open(unfinished, "wb") as file:
            marshal.dump(code, file)
        os.rename(unfinished, kept)
    except OSError:
        pass  # it was for speed alone
    return code


zipimport._compile_source = _compile_once  # type: ignore[attr-defined]
