"""`python -m workflows.demo [PIPELINE] [INPUT]`; see the package."""

import argparse
import sys
from importlib import import_module

from workflows.demo.scripted import Scripted
from workflows.demo.terminal import Terminal

PIPELINES = ("data_release", "article_refinement", "refund", "support_desk")


def main() -> int:
    """Run a pipeline to its end, and return the exit code: 0 where there is a result."""
    parser = argparse.ArgumentParser(prog="python -m workflows.demo")
    parser.add_argument("pipeline", nargs="?", choices=PIPELINES, default=PIPELINES[0])
    parser.add_argument("input", nargs="?", help="what it is about; each has an example of its own")
    given = parser.parse_args()
    # One at a time: what one of them needs, the others need not have installed.
    demo = import_module(f"workflows.demo.{given.pipeline}")
    source: str = given.input or demo.SOURCE
    print(demo.ABOUT.format(source=source), flush=True)
    reviewer = Terminal() if sys.stdin.isatty() else Scripted(demo.SCRIPT)
    run_output, page, leave = demo.play(source, reviewer)
    done, lines = demo.result(run_output)
    print(f"\n{run_output.status}")
    for record in run_output.resolutions:
        print(f"  {record.requirement_id}: {record.told()}")
    print("\n".join(lines))
    print(f"the run:  {page or run_output.run_id}")
    if sys.stdin.isatty():
        input("The server of this demo runs until you press Enter. ")
    else:
        print("          (its server ends with this program; at a terminal it waits for Enter)")
    leave()
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
