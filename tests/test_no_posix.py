"""The library is imported where the embedded server cannot run."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, random, sys, threading, logging, concurrent.futures
sys.modules["fcntl"] = None  # as on Windows
del os.register_at_fork
import temporal_hitl
from temporal_hitl.errors import ServerError
from temporal_hitl.local import serve
try:
    serve(sys.argv[1])
except ServerError as error:
    print(error)
"""


def test_only_the_embedded_server_needs_posix(tmp_path: object) -> None:
    """Without POSIX locks everything imports, and only the embedded server says what it lacks."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"{tmp_path}/dev.db"],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert 0 == done.returncode, done.stderr
    assert "needs a POSIX system; set TEMPORAL_ADDRESS" in done.stdout
