# SPDX-License-Identifier: GPL-3.0-or-later
"""node/bytecode.py: what a node compiles out of a zip file is compiled once."""

from __future__ import annotations

import marshal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "ipvs_lab" / "node" / "bytecode.py"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def told_by(source: str, tmp_path: Path, place: Path) -> str:
    """What a Python with bytecode.py prints that imports ``source`` out of a zip file."""
    archive = tmp_path / "module.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("it.py", source)
    hook = SOURCE.read_text().replace('"/var/cache/l4lb-lab"', repr(str(place)))
    script = f"{hook}\nimport sys\nsys.path.insert(0, {str(archive)!r})\nimport it"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_what_is_kept_is_used(tmp_path: Path, place: Path) -> None:
    assert told_by("print(1)", tmp_path, place) == "1"
    (kept,) = place.iterdir()
    kept.write_bytes(marshal.dumps(compile("print('kept')", "it", "exec")))
    assert told_by("print(1)", tmp_path, place) == "kept"


def test_another_source_is_compiled(tmp_path: Path, place: Path) -> None:
    assert told_by("print(1)", tmp_path, place) == "1"
    assert told_by("print(2)", tmp_path, place) == "2"
    assert len(list(place.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"\xff", marshal.dumps(compile("print('kept')", "it", "exec"))[:20]])
def test_what_was_cut_off_is_compiled_again(tmp_path: Path, place: Path, content: bytes) -> None:
    told_by("print(1)", tmp_path, place)
    (kept,) = place.iterdir()
    kept.write_bytes(content)
    assert told_by("print(1)", tmp_path, place) == "1"
    assert told_by("print(1)", tmp_path, place) == "1"


def test_a_place_that_cannot_be_written_to_is_done_without(tmp_path: Path, place: Path) -> None:
    place.write_text("a file")
    assert told_by("print(1)", tmp_path, place) == "1"
