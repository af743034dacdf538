"""What the README shows is what the library does."""

from __future__ import annotations

import re
from pathlib import Path

from tests.documents import ROOT, blocks
from tests.stage import run_program

README = ROOT / "README.md"
PYTHON = [each.text for each in blocks(README) if each.language == "python"]


def test_every_block_runs(tmp_path: Path) -> None:
    """The Python blocks of the README run, one after another, in a fresh process."""
    printed = run_program("\n".join(PYTHON), tmp_path)

    assert 5 == len(PYTHON)
    assert "COMPLETED ['RECORD 0 OF USERS', 'RECORD 1 OF USERS'" in printed


def test_the_commands_exist() -> None:
    """The make targets that the README names are there."""
    makefile = (ROOT / "Makefile").read_text()

    named = set(re.findall(r"make ([a-z]+)", README.read_text()))

    assert {"demo", "test", "dev", "check", "bench"} <= named
    assert not [target for target in named if not re.search(rf"^{target}:", makefile, re.M)]
