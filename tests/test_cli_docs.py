"""What README and docs say of `temporal-hitl` is what it does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.main import get_command

from temporal_hitl.cli._app import app
from temporal_hitl.cli._exits import Exit

ROOT = Path(__file__).parent.parent
CLI = (ROOT / "docs" / "cli.md").read_text()
COMMANDS: Any = get_command(app)


def test_every_command_is_documented() -> None:
    """Each command is in the table of the page; tests/test_documents.py runs what is shown."""
    named = set(re.findall(r"`([a-z]+)[ `]", CLI.partition("## Answering")[0]))

    assert set() == set(COMMANDS.commands) - named


def test_the_exit_codes_are_documented() -> None:
    """The table of exit codes is the one that the commands follow, and the help has it too."""
    table = re.findall(r"^\| (\d+) \| `(\w+)` \|", CLI, re.M)

    assert {(str(each.value), each.name) for each in Exit} == set(table)
    assert all(f"{each.value} " in COMMANDS.help for each in Exit)


def in_a_process(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the checkout, and return how it ended."""
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_completion() -> None:
    """A shell is told how to complete, and completes commands and options."""
    words = {"COMP_WORDS": "temporal-hitl con", "COMP_CWORD": "1"}
    commands = in_a_process(
        "-m", "temporal_hitl.cli", _TEMPORAL_HITL_COMPLETE="complete_bash", **words
    )
    words = {"COMP_WORDS": "temporal-hitl list --over", "COMP_CWORD": "2"}
    options = in_a_process(
        "-m", "temporal_hitl.cli", _TEMPORAL_HITL_COMPLETE="complete_bash", **words
    )
    shown = in_a_process("-m", "temporal_hitl.cli", _TEMPORAL_HITL_COMPLETE="source_bash")

    assert ["confirm"] == commands.stdout.split()
    assert ["--overdue"] == options.stdout.split()
    assert "complete" in shown.stdout and "temporal-hitl" in shown.stdout


def test_the_library_does_not_import_it() -> None:
    """Who imports the library gets neither the command line nor what it needs."""
    program = (
        "import sys, temporal_hitl; print({'typer', 'rich', 'temporal_hitl.cli'} & {*sys.modules})"
    )

    assert "set()\n" == in_a_process("-c", program).stdout


def test_without_its_extra(tmp_path: Path) -> None:
    """Without the extra the command says what to install."""
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('no typer', name='typer')\n")
    ended = in_a_process("-m", "temporal_hitl.cli", "list", PYTHONPATH=str(tmp_path))

    assert (Exit.usage, "") == (ended.returncode, ended.stdout)
    assert (
        "error: the command line needs its extra: pip install 'temporal-hitl[cli]'\n"
        == ended.stderr
    )
