"""Append-only files of JSON lines, outside of Temporal: what is written survives every kill."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn


class Journal:
    """One file of lines, which several processes may append to."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def write(self, **line: Any) -> None:
        """Append a line in one call, and return once the disk has it."""
        data = json.dumps({**line, "at": time.time()}).encode() + b"\n"
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            written = os.write(descriptor, data)
            assert written == len(data), "the disk is full"
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lines(self, **where: Any) -> list[dict[str, Any]]:
        """Return the lines that hold what is given, in order."""
        text = self.file.read_text() if self.file.exists() else ""
        # What another process is writing at this moment may be seen in part.
        every = [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]
        return [line for line in every if where.items() <= line.items()]


def end(code: int) -> NoReturn:
    """End this process without Python's own farewell, in which threads of the SDK may abort it."""
    sys.stderr.flush()
    os._exit(code)


def end_with_parent() -> None:
    """End this process as soon as the one that holds the other end of its stdin has ended."""

    def watch() -> None:
        sys.stdin.read()
        end(1)

    threading.Thread(target=watch, daemon=True).start()
