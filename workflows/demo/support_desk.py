"""The demo of `workflows.support_desk`: what is shown, and what the script answers.

Whoever answers signs as an approver: on a machine of one's own, with the keys that the embedded
server has, anybody may.
"""

import os
from typing import Any

from activities.support_desk import database
from temporal_hitl import RunStatus, WorkflowRunOutput
from temporal_hitl.approvals import FILE
from temporal_hitl.drafts import AnyDraft, StepRequirement
from temporal_hitl.local import DEFAULT_DB_FILE, connection
from workflows.demo.playing import Played, Result, Reviewer
from workflows.demo.playing import play as play_pipeline
from workflows.demo.scripted import Script
from workflows.support_desk import support_desk

SOURCE = (
    "I am C-204. My lawn mower, order 1007, came damaged. Please refund it, add 10 EUR of goodwill,"
    " and delete my account."
)
ABOUT = "A customer writes: {source}"
KEEP = "the refund is not paid out yet, so the account must stay"


def _voucher(asked: Any) -> None:
    asked.set_user_input(**dict.fromkeys(asked.form["properties"], "voucher"))


_DEEDS: Script = {
    "refund_order": (
        "I approve, yet with 400.00 EUR, as its cable was not sent back",
        lambda asked: asked.edit_arguments(cents=40000),
    ),
    "grant_goodwill": (
        "I fill in the cost centre, which the model is not to know",
        lambda asked: asked.set_user_input(cost_centre="4711"),
    ),
    "delete_account": (
        f"I reject: {KEEP}",
        lambda asked: asked.reject(feedback=KEEP),
    ),
}
SCRIPT: Script = {
    "support_desk.1.ask_user": ("for the customer: a voucher will do", _voucher),
    # Once the order is refunded, which stays so, nothing is asked before the rest.
    **{f"support_desk.{turn}.{name}": said for turn in (1, 2) for name, said in _DEEDS.items()},
}


def play(source: str, reviewer: Reviewer) -> Played:
    """Run the agent to its end."""
    # What pydantic-ai says of its own at a terminal would stand in the midst of the conversation.
    os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")
    return play_pipeline(support_desk.workflow, source, reviewer, show, roles=["approver"])


def show(run_output: WorkflowRunOutput, draft: AnyDraft) -> None:
    """Print what a person decides about."""
    if not isinstance(draft, StepRequirement):
        return
    if draft.tool_args:
        told = ", ".join(f"{name}={value!r}" for name, value in draft.tool_args.items())
        print(f"\n{draft.agent_name} wants to call {draft.tool_name}({told})")
    else:
        print("\n" + "\n".join((draft.form or {}).get("properties", {})))
    if roles := " or ".join(draft.requirement.roles):
        print(f"It needs an approval: the answer is signed as {roles}, and on file before it runs.")


def result(run_output: WorkflowRunOutput) -> Result:
    """Return whether the customer has an answer, and which."""
    if run_output.status is not RunStatus.completed:
        return False, [f"no answer: {run_output.error or 'the run was stopped'}"]
    return True, [
        f"\n{run_output.content}\n",
        f"the shop: {database()}",
        f"on file:  {_file()}",
        *(
            f"  {each.tool_name}, {each.type}: {each.status} by {each.resolved_by} ({each.channel})"
            for each in run_output.approvals
        ),
    ]


def _file() -> str:
    beside = f"{DEFAULT_DB_FILE}.approvals.jsonl" if connection() is None else f"what {FILE} names"
    return os.environ.get(FILE) or beside
