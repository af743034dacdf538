"""What the README shows is what the library does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.stage import WAIT, temporal_binary

README = (Path(__file__).parent.parent / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_every_block_runs(tmp_path: Path) -> None:
    """The Python blocks of the README run, one after another, in a fresh process."""
    program = "\n".join(PYTHON)
    path = f"{Path(temporal_binary()).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "PATH": path}
    for name in [each for each in environment if each.startswith("TEMPORAL_")]:
        del environment[name]
    file = tmp_path / "program.py"
    file.write_text(program)

    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=3 * WAIT,
    )

    assert 4 == len(PYTHON)
    assert 0 == done.returncode, done.stderr
    assert "COMPLETED ['RECORD 0 OF USERS', 'RECORD 1 OF USERS'" in done.stdout


def test_the_commands_exist() -> None:
    """The make targets that the README names are there."""
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()

    named = set(re.findall(r"make ([a-z]+)", README))

    assert {"demo", "test", "dev", "check", "bench"} <= named
    assert not [target for target in named if not re.search(rf"^{target}:", makefile, re.M)]
