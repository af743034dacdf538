"""`make demo` from the outside: with a person at a terminal, and without one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests.stage import WAIT, temporal_binary

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "activities" / "data" / "legislators.csv"
COMMAND = ["-W", "error", "-m", "workflows.demo", str(SOURCE)]


def environment() -> dict[str, str]:
    """Return an environment with the checkout importable and no server configured."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TEMPORAL_")}
    path = f"{Path(temporal_binary()).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PYTHONPATH": str(ROOT), "PATH": path}


def test_without_a_terminal(tmp_path: Path) -> None:
    """A scripted reviewer answers and says so; the result lies where the output says."""
    done = subprocess.run(
        [sys.executable, *COMMAND],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * WAIT,
    )

    assert 0 == done.returncode, done.stderr
    assert 2 == done.stdout.count("\nscripted reviewer: ")
    released = re.search(r"released: (\S+)", done.stdout)
    assert released is not None
    assert (tmp_path / released[1]).is_file()
    assert re.search(
        r"the run: +http://127\.0\.0\.1:\d+/namespaces/default/workflows/", done.stdout
    )
    assert 1 == done.stderr.count("no Temporal server is configured")


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
def test_at_a_terminal(tmp_path: Path, answer: str, code: int) -> None:
    """The person at the terminal decides; an answer that is none is asked for again."""
    demo = pexpect.spawn(
        sys.executable,
        COMMAND,
        cwd=str(tmp_path),
        env=environment(),  # pyright: ignore[reportArgumentType]
        encoding="utf-8",
        timeout=3 * WAIT,
    )
    demo.expect(r"Confirm\? \(y/n\): ")
    demo.sendline("perhaps")
    demo.expect(r"Confirm\? \(y/n\): ")
    demo.sendline(answer)
    demo.expect("Your name: ")
    demo.sendline("Ana")
    if answer == "n":
        demo.expect("Why not")
        demo.sendline("not yet")
    demo.expect(f"Ana decided '{'confirm' if code == 0 else 'reject'}' by update")
    demo.expect("press Enter")
    demo.sendline("")
    demo.expect(pexpect.EOF)
    demo.close()

    assert code == demo.exitstatus
    assert (code == 0) == (tmp_path / "released" / "legislators" / "legislators.csv").exists()
