"""`python -m tests.faults --seed 8 --kills 300`: one campaign, and what was done."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.faults.campaign import campaign


def main() -> int:
    """Run one campaign, and return 1 where anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="where files and logs are left")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="hitl-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"files and logs: {folder}", flush=True)
    done = asyncio.run(campaign(folder.resolve(), asked.seed, asked.kills))
    print(done.lines())
    return 1 if done.violations else 0


if __name__ == "__main__":
    sys.exit(main())
