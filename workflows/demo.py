"""`make demo`: runs `data_release` on an embedded Temporal; the person at the terminal decides.

Without a terminal a scripted reviewer answers, and the output says so, line by line.
"""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from temporal_hitl import StepRequirement, WorkflowRunOutput
from workflows.data_release import data_release

SOURCE = "activities/data/legislators.csv"


def main() -> int:
    """Run the pipeline to its end, and return the exit code: 0 where something was released."""
    parser = argparse.ArgumentParser(prog="python -m workflows.demo", description=__doc__)
    parser.add_argument("source", nargs="?", default=SOURCE, help="a CSV file (%(default)s)")
    source: str = parser.parse_args().source
    print(f"Releasing {source}: load, profile, ask a person, redact, publish.", flush=True)
    run_output = data_release.run(source)
    while run_output.is_paused:
        show_profile(run_output)
        for requirement in run_output.steps_requiring_confirmation:
            decide(requirement)
        run_output = data_release.continue_run(run_output)
    return show_end(run_output)


def show_profile(run_output: WorkflowRunOutput) -> None:
    """Print what the person decides about: the columns, and why some are personal."""
    loaded, profiled = (output.content for output in run_output.step_results)
    print(f"\n{loaded['path']}: {loaded['rows']} rows, {len(loaded['columns'])} columns")
    columns: Mapping[str, Any] = profiled["columns"]
    for name, column in columns.items():
        verdict = "PERSONAL" if column["personal"] else "keep"
        print(f"  {verdict:9} {name:16} {column['kind']:12} {'; '.join(column['why'])}")


def decide(requirement: StepRequirement) -> None:
    """Fill in the decision: asked at the terminal, else made by the script."""
    print(f"\nWaits for a person: {requirement.confirmation_message}  [{requirement.id}]")
    if not sys.stdin.isatty():
        print("scripted reviewer: there is no terminal, so I answer")
        print("scripted reviewer: I confirm, as every personal column will be removed")
        requirement.resolved_by = "scripted reviewer"
        requirement.comment = "every personal column will be removed"
        requirement.confirm()
        return
    answer = ""
    while answer not in ("y", "yes", "n", "no"):
        answer = input("Confirm? (y/n): ").strip().lower()
    requirement.resolved_by = input("Your name: ").strip() or None
    if answer.startswith("y"):
        requirement.confirm()
    else:
        requirement.reject(feedback=input("Why not? ").strip() or None)


def show_end(run_output: WorkflowRunOutput) -> int:
    """Print how it ended, where the result lies, and where the run can be looked at."""
    print(f"\n{run_output.status}: " + "; ".join(each.told() for each in run_output.resolutions))
    released = run_output.content if len(run_output.step_results) == 4 else None
    if released:
        report = released["report"]
        rows = f"{report['released']['rows']} rows, {report['released']['columns']} columns"
        print(f"released: {released['path']}  ({rows}, sha256 {report['released']['sha256'][:12]})")
        print(f"report:   {released['report_path']}")
    else:
        print(f"nothing was released: {run_output.error}")
    print(f"the run:  {data_release.web_url(run_output.run_id) or run_output.run_id}")
    if sys.stdin.isatty():
        input("The server of this demo runs until you press Enter. ")
    else:
        print("          (its server ends with this program; at a terminal it waits for Enter)")
    return 0 if released else 1


if __name__ == "__main__":
    sys.exit(main())
