"""`temporal-hitl`: answers runs, starts and shows them, and serves pipelines, from a shell.

A thin edge over `HitlClient`: a command checks what was typed, calls one method of the client, and
shows what came back, for people or (`--json`) for programs. Owns the words, the exit codes and the
prompts; decides nothing. Needs the extra `cli`.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run one command, and end the process with its exit code."""
    # What a terminal's encoding lacks is shown escaped.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        from temporal_hitl.cli._app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        print(
            "error: the command line needs its extra: pip install 'temporal-hitl[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    code = _code_of(app)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:  # Who read it has gone: `temporal-hitl list | head -1`.
            code = code or 1
    # The SDK may crash at interpreter exit while calls of its are being given up (sdk-python
    # issue 300); whatever must be closed is closed by now.
    os._exit(code)


def _code_of(app: object) -> int:
    try:
        app(prog_name="temporal-hitl")  # type: ignore[operator]
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0
