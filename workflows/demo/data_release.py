"""The demo of `workflows.data_release`: what is shown, and what the script answers."""

from typing import Any

from temporal_hitl import RunStatus, WorkflowRunOutput
from temporal_hitl.drafts import AnyDraft
from workflows.data_release import data_release
from workflows.demo.playing import Played, Result, Reviewer
from workflows.demo.playing import play as play_pipeline
from workflows.demo.scripted import Script

SOURCE = "activities/data/legislators.csv"
ABOUT = "Releasing {source}: load, profile, redact, review, publish; a person decides."
NOTE = "no names, no districts; years of birth"

SCRIPT: Script = {
    "profile": (
        "I choose the deep profile, as every row counts",
        lambda asked: asked.select("deep"),
    ),
    "redact": (
        "I leave all columns to the suggestion",
        lambda asked: asked.set_user_input(keep=[]),
    ),
    "redact~2": (
        "I reject: remove district, too few people live in one",
        lambda asked: asked.reject(feedback="remove district, too few people live in one"),
    ),
    "redact~3": (
        f"I edit the note, for the report: {NOTE}",
        lambda asked: asked.edit({**(asked.requirement.output or {}), "note": NOTE}),
    ),
    "publish": ("I confirm, as nobody is named in it", lambda asked: asked.confirm()),
}


def play(source: str, reviewer: Reviewer) -> Played:
    """Run the pipeline to its end."""
    return play_pipeline(data_release, source, reviewer, show)


def show(run_output: WorkflowRunOutput, draft: AnyDraft) -> None:
    """Print what a person decides about."""
    content = {each.step_name: each.content for each in run_output.step_results}
    match draft.requirement.kind:
        case "route":
            if loaded := content.get("load"):
                print(
                    f"\n{loaded['path']}: {loaded['rows']} rows, {len(loaded['columns'])} columns"
                )
        case "user_input":
            _show_profile(content["profile"])
        case "output_review":
            output: Any = draft.requirement.model_dump()
            _show_draft(output["output"], output["error"])
        case _:
            pass


def result(run_output: WorkflowRunOutput) -> Result:
    """Return whether something was released, and what came of the run."""
    released: Any = run_output.content
    if run_output.status is not RunStatus.completed or "report_path" not in (released or {}):
        return False, [f"nothing was released: {run_output.error or 'the run was stopped'}"]
    facts = released["report"]["released"]
    rows = f"{facts['rows']} rows, {facts['columns']} columns, sha256 {facts['sha256'][:12]}"
    return True, [f"released: {released['path']}  ({rows})", f"report:   {released['report_path']}"]


def _show_profile(profiled: Any) -> None:
    print(f"\nthe {profiled['depth']} profile, from {profiled['looked_at']} rows:")
    for name, column in profiled["columns"].items():
        verdict = "PERSONAL" if column["personal"] else "keep"
        print(f"  {verdict:9} {name:16} {column['kind']:12} {'; '.join(column['why'])}")
    if profiled["singled_out"] is not None:
        print(f"  redacted as suggested, {_told_apart(profiled['singled_out'])}")


def _show_draft(drafted: Any, error: str | None) -> None:
    if drafted is None:
        print(f"\nthere is no draft: {error}")
        return
    print(f"\na sample of {drafted['path']}:")
    for row in drafted["sample"]:
        print("  " + " | ".join(f"{name}={value}" for name, value in row.items()))
    for what in ("changes", "problems", "personal_kept"):
        if drafted[what]:
            print(f"  {what.replace('_', ' ')}: {'; '.join(drafted[what])}")
    print(f"  {_told_apart(drafted['singled_out'])}")


def _told_apart(singled_out: Any) -> str:
    return f"{singled_out['rows']} rows can still be told apart, by {', '.join(singled_out['by'])}"
