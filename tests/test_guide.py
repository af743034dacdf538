"""What the guide shows is what the library does."""

from __future__ import annotations

import re
from pathlib import Path

from tests.stage import run_program

GUIDE = (Path(__file__).parent.parent / "docs" / "guide.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
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
    printed = run_program("\n".join(PYTHON), tmp_path)

    assert 9 == len(PYTHON)
    assert printed.startswith(PRINTED)
    assert "decided 'retry' by update at" in printed
    assert printed.endswith(STREAMED)
