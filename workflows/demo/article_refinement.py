"""The demo of `workflows.article_refinement`: what is shown, and what the script answers."""

from typing import Any

from temporal_hitl import RunStatus, WorkflowRunOutput
from temporal_hitl.drafts import AnyDraft
from workflows.article_refinement import article_refinement
from workflows.demo.playing import Played, Result, Reviewer
from workflows.demo.playing import play as play_pipeline
from workflows.demo.scripted import Script

SOURCE = "activities/data/tool_library.md"
ABOUT = "Refining {source}, round by round, until a person accepts it."
FEEDBACK = "shorter sentences, no passive; say 'the loan' instead of 'the lending'"

SCRIPT: Script = {
    "refinement": ("I start it", lambda asked: asked.confirm()),
    "refinement.1": (f"I reject: {FEEDBACK}", lambda asked: asked.reject(feedback=FEEDBACK)),
    "refinement.2": ("I accept the second round", lambda asked: asked.confirm()),
}


def play(source: str, reviewer: Reviewer) -> Played:
    """Run the pipeline to its end."""
    return play_pipeline(article_refinement, source, reviewer, show)


def show(run_output: WorkflowRunOutput, draft: AnyDraft) -> None:
    """Print what a person decides about."""
    if draft.requirement.kind == "confirmation":
        article = run_output.step_results[0].content
        print(f"\n{article['text']}\n{measures(article['measures'])}")
    else:
        revision: Any = draft.requirement.model_dump()["output"]
        this = revision["rounds"][-1]
        print(f"\n{revision['text']}")
        for what in ("wanted", "done", "left"):
            print(f"{what:7} {'; '.join(this[what]) or 'nothing'}")
        print(measures(this["measures"]))


def result(run_output: WorkflowRunOutput) -> Result:
    """Return whether something was written, and what came of the run."""
    written: Any = run_output.content
    if run_output.status is not RunStatus.completed or "report_path" not in (written or {}):
        return False, [f"nothing was written: {run_output.error or 'the run was stopped'}"]
    report = written["report"]
    rounds = f"{len(report['rounds'])} rounds" if report["accepted"] else "as it was"
    before, after = report["before"]["reading_ease"], report["after"]["reading_ease"]
    return True, [
        f"written:  {written['path']}  ({rounds}, reading ease {before} -> {after})",
        f"report:   {written['report_path']}",
    ]


def measures(of: Any) -> str:
    """Return how hard a text is to read, as one line."""
    return (
        f"reading ease {of['reading_ease']}: {of['sentences']} sentences,"
        f" {of['words_per_sentence']} words each, the longest {of['longest_sentence']};"
        f" {of['passives']} passives"
    )
