"""What made each history: a pipeline, or a workflow written by hand, by the history's name.

A recorded run walks the plan in its own history, so a definition here may change as any may.
What must stay is its name, which is the workflow type, and the code of what is written by hand.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporal_hitl import (
    Condition,
    HumanReview,
    Loop,
    OnReject,
    OnTimeout,
    Parallel,
    Router,
    Step,
    StepInput,
    StepOutput,
    Steps,
    Workflow,
)
from tests.histories.agents import AGENTS
from tests.histories.approvals import approvals
from tests.histories.by_hand import AllQuestions, NotVerified, OneQuestion
from tests.histories.modes import MODES
from workflows.support_desk import support_desk

A_MOMENT = timedelta(seconds=1)
"""A deadline that a recording waits for."""


def load(step_input: StepInput) -> str:
    return f"loaded {step_input.input}"


async def process(step_input: StepInput) -> str:
    return str(step_input.previous_step_content).upper()


def save(step_input: StepInput) -> dict[str, Any]:
    return {"saved": step_input.previous_step_content}


def fails(step_input: StepInput) -> str:
    raise ValueError("no such file")


def stops(step_input: StepInput) -> StepOutput:
    return StepOutput(content="nothing to do", stop=True)


def writes_left(step_input: StepInput, session_state: dict[str, Any]) -> None:
    session_state["who"] = "left"


def writes_right(step_input: StepInput, session_state: dict[str, Any]) -> None:
    session_state["who"] = "right"


def has_input(step_input: StepInput) -> bool:
    return bool(step_input.input)


def twice(step_input: StepInput, iteration: int) -> bool:
    return iteration < 2


def second_done(outputs: list[StepOutput]) -> bool:
    return any((each.content or {}).get("saved", "").startswith("TWICE") for each in outputs)


async def doubled(step_input: StepInput) -> dict[str, Any]:
    return {"saved": "TWICE" if step_input.iteration == 2 else "ONCE"}


def chooses(step_input: StepInput) -> list[str]:
    return ["quick", "both"]


def _plain() -> Workflow:
    return Workflow("plain_steps", [load, process, save])


def _confirmation() -> Workflow:
    gated = Step(
        "process",
        process,
        requires_confirmation=True,
        confirmation_message="Process what was loaded?",
        on_reject=OnReject.skip,
        hitl_timeout=timedelta(days=3),
    )
    return Workflow("confirmation", [load, gated, save])


def _timed_out(policy: OnTimeout) -> Workflow:
    gated = Step(
        "process",
        process,
        requires_confirmation=True,
        hitl_timeout=A_MOMENT,
        on_timeout=policy,
    )
    return Workflow(f"timed_out_{policy}", [load, gated, save])


def _containers() -> Workflow:
    left = Steps(
        "left", steps=[Step("draft", process), Step("check", load, requires_confirmation=True)]
    )
    right = Step("publish", load, requires_confirmation=True, hitl_timeout=timedelta(days=1))
    inner = Loop([Step("doubled", doubled)], name="until", end_condition=second_done)
    outer = Loop([inner, Step("again", load)], name="while", should_continue=twice)
    limit = Loop([Step("once", load)], name="limit", max_iterations=1, should_continue=twice)
    both = Steps("both", steps=[Step("one", process), Step("two", save)])
    return Workflow(
        "every_container",
        [
            load,
            Parallel(left, right, name="fan"),
            Condition([outer, limit], has_input, else_steps=[Step("never", load)], name="when"),
            Router([Step("quick", process), both, Step("unused", load)], chooses, name="route"),
            save,
        ],
    )


def _asking() -> Workflow:
    asks: dict[str, Any] = {"requires_confirmation": True}
    count = Step("again", load, requires_confirmation=True, confirmation_message="{iteration}?")
    return Workflow(
        "every_container_asks",
        [
            load,
            Steps("steps", steps=[Step("one", process)], **asks),
            Parallel(Step("left", load), Step("right", load), name="fan", **asks),
            Condition([Step("yes", load)], has_input, [Step("no", process)], name="when", **asks),
            Loop([count], "while", max_iterations=2, hitl_timeout=timedelta(days=1), **asks),
            Router([Step("quick", process), Step("both", load)], chooses, name="route", **asks),
        ],
    )


def _failing(name: str, on_error: str) -> Workflow:
    return Workflow(name, [load, Step("fails", fails, max_retries=1, on_error=on_error), save])


def _conflict() -> Workflow:
    fan = Parallel(Step("left", writes_left), Step("right", writes_right), name="fan")
    return Workflow("state_conflict", [fan, save])


def _continued() -> Workflow:
    sign = Step("sign", load, requires_confirmation=True, hitl_timeout=timedelta(days=1))
    count = Loop([Step("again", load)], name="count", max_iterations=25)
    return Workflow("continued_as_new", [Parallel(sign, count, name="all"), Step("save", save)])


def _nested(name: str, *more: Step | Loop) -> Workflow:
    inner = Workflow(f"{name}_inner", [Step("sign", load, requires_confirmation=True), save])
    both = Parallel(Step("sub", workflow=inner), Step("beside", load), *more, name="all")
    return Workflow(name, [both, Step("save_all", save)])


def _nested_continued() -> Workflow:
    count = Loop([Step("again", load)], name="count", max_iterations=25)
    return _nested("nested_continued_as_new", count)


def _notified(name: str) -> Workflow:
    hour = timedelta(hours=1)
    both = [
        Step(each, load, requires_confirmation=True, hitl_timeout=hour) for each in ("sign", "seal")
    ]
    last = Step("send", save, requires_confirmation=True)
    return Workflow(name, [Parallel(*both, name="all"), last], notify=["nobody", "no-one"])


def _signed() -> Workflow:
    review = HumanReview(requires_confirmation=True, roles=["finance"], timeout=timedelta(days=1))
    steps = [Step(name, load, human_review=review) for name in ("first", "second")]
    return Workflow("signed_answer", [Parallel(*steps, name="pay"), Step("save", save)])


MADE_BY: dict[str, Workflow | type] = {
    "continued_as_new": _continued(),
    "nested": _nested("nested"),
    "nested_cancelled": _nested("nested_cancelled"),
    "nested_child": _nested("nested_child"),
    "nested_continued_as_new": _nested_continued(),
    "plain_steps": _plain(),
    "confirmed_by_update": _confirmation(),
    "rejected_by_signal": _confirmation(),
    "garbage_signals_then_an_answer": _confirmation(),
    "cancelled_while_paused": _confirmation(),
    "timed_out_skip": _timed_out(OnTimeout.skip),
    "timed_out_cancel": _timed_out(OnTimeout.cancel),
    "timed_out_approve": _timed_out(OnTimeout.approve),
    "every_container": _containers(),
    "every_container_asks": _asking(),
    "reset_and_asked_again": _confirmation(),
    "step_failed_and_skipped": _failing("step_failed_and_skipped", "skip"),
    "step_failed_and_the_run_too": _failing("step_failed_and_the_run_too", "fail"),
    "early_stop": Workflow("early_stop", [load, stops, save]),
    "state_conflict": _conflict(),
    "notified": _notified("notified"),
    "notification": _notified("notification"),
    "signed_answer": _signed(),
    "approval_required": approvals(),
    "by_hand_all_questions": AllQuestions,
    "by_hand_one_question_timed_out": OneQuestion,
    "by_hand_not_verified": NotVerified,
    "support_desk": support_desk.workflow,
    **MODES,
    **AGENTS,
}
INPUTS = {
    "support_desk": "Please refund order 1007, add 10 EUR of goodwill, and delete my account.",
}
"""What a run is given, where that is not `rows`."""


def pipelines_of(made_by: Workflow | type) -> list[Workflow]:
    """Return what a plugin must serve of it."""
    return [made_by] if isinstance(made_by, Workflow) else []


def workflows_of(made_by: Workflow | type) -> list[type]:
    """Return what a worker must serve of it, beside the plugin."""
    return [] if isinstance(made_by, Workflow) else [made_by]
