"""What tests stand on goes away with them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.stage import WAIT

ROOT = Path(__file__).parent.parent
SERVES = """
import asyncio
from temporalio.testing import WorkflowEnvironment
from tests.stage import server_options

async def serve():
    async with await WorkflowEnvironment.start_local(**server_options()):
        print("serves", flush=True)
        await asyncio.sleep(60)

asyncio.run(serve())
"""


def test_a_server_ends_with_its_tests(tmp_path: Path) -> None:
    """The server of a test process ends with it, also where that is killed with signal 9."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVES],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert "serves" in map(str.strip, process.stdout)
        left = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.communicate(timeout=WAIT)
    _, alive = psutil.wait_procs(left, WAIT)

    assert [] != left
    assert [] == alive
