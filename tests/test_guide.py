"""What the guide shows is what the library does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.stage import WAIT, temporal_binary

ROOT = Path(__file__).parent.parent
PYTHON = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "guide.md").read_text(), re.DOTALL)
PRINTED = """\
Delete 1000 records?
deleted 1000
['format', 'charts']
pdf report with charts
['quick', 'deep']
all of it
Dear Ada
Dear Ada, hello
Dear Ada, hello.
te
nobody answers 0
answered
"""
STREAMED = """\
count {'rows': 1000}
Delete 1000 records?
StepContinued
StepOutput
WorkflowCompleted
"""


def test_every_block_of_the_guide_runs(tmp_path: Path) -> None:
    """The blocks of the guide run one after another, and print what they say."""
    path = f"{Path(temporal_binary()).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
    for name in [each for each in environment if each.startswith("TEMPORAL_")]:
        del environment[name]
    file = tmp_path / "program.py"
    file.write_text("\n".join(PYTHON))

    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=3 * WAIT,
    )

    assert 8 == len(PYTHON)
    assert 0 == done.returncode, done.stderr
    assert done.stdout.startswith(PRINTED)
    assert "decided 'retry' by update at" in done.stdout
    assert done.stdout.endswith(STREAMED)
