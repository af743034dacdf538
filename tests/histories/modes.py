"""Pipelines that ask in every way there is, and what people answered in the runs recorded of them.

As in `pipelines`, a definition may change, and its name may not.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporal_hitl import (
    Answer,
    Condition,
    Confirm,
    Edit,
    Loop,
    OnError,
    OnReject,
    OnTimeout,
    Parallel,
    Reject,
    Retry,
    Router,
    Select,
    Skip,
    Step,
    StepInput,
    StepOutput,
    UserInputField,
    Workflow,
)
from temporal_hitl.requirements import AnyResolution

A_MOMENT = timedelta(seconds=1)
"""A deadline that a recording waits for."""
A_DAY = timedelta(days=1)
ANY: dict[str, Any] = {"requires_user_input": True}
REVIEWED: dict[str, Any] = {"requires_output_review": True}
AGAIN: dict[str, Any] = {**REVIEWED, "on_reject": OnReject.retry}
ITERATION: dict[str, Any] = {"requires_iteration_review": True, "on_reject": OnReject.retry}


def told(step_input: StepInput) -> dict[str, Any]:
    return {"before": step_input.previous_step_content, **step_input.additional_data}


def fails(step_input: StepInput) -> str:
    raise ValueError("no such file")


def is_unknown() -> bool:
    raise ValueError("who knows")


def chooses() -> list[str]:
    return ["quick"]


def is_long(output: StepOutput) -> bool:
    return len(str(output.content)) > 1000


def is_short(output: StepOutput) -> bool:
    return len(str(output.content)) < 1000


def _forms() -> Workflow:
    fields = [UserInputField("why"), UserInputField("many", "int", required=False, value=3)]
    schema = {
        "type": "object",
        "properties": {"until": {"type": "string", "default": "noon"}, "rows": {"type": "integer"}},
        "required": ["rows"],
    }
    return Workflow(
        "forms_filled_in",
        [
            Step("fields", told, user_input_schema=fields, hitl_timeout=A_DAY, **ANY),
            Step("schema", told, user_input_schema=schema, **ANY),
            Step("declined", told, user_input_schema=fields, **ANY),
            Step("anything", told, requires_confirmation=True, **ANY),
        ],
    )


def _routes() -> Workflow:
    ways = [Step("quick", told), Step("slow", told), [Step("one", told), Step("two", told)]]
    more = [Step("left", told), Step("right", told)]
    return Workflow(
        "routes_chosen",
        [
            Router(ways, name="one_way", user_input_message="Which way?", **ANY),
            Router(more, name="many_ways", allow_multiple_selections=True, **ANY),
        ],
    )


def _outputs() -> Workflow:
    return Workflow(
        "outputs_reviewed",
        [
            Step("draft", told, hitl_timeout=A_DAY, **AGAIN),
            Step("unasked", told, requires_output_review=is_long),
            Step("asked", told, requires_output_review=is_short),
            Step("dropped", told, **REVIEWED),
            Step("failed", fails, max_retries=0, **REVIEWED),
        ],
    )


def _routers() -> Workflow:
    ways = [Step("quick", told), Step("slow", told)]
    return Workflow("router_reviewed", [Router(ways, chooses, name="way", **AGAIN)])


def _iterations() -> Workflow:
    to_the_last = Loop([Step("refine", told)], name="refining", max_iterations=2, **ITERATION)
    changed = Loop([Step("polish", told)], name="polishing", max_iterations=3, **ITERATION)
    return Workflow("iterations_reviewed", [to_the_last, changed, Step("publish", told)])


def _errors() -> Workflow:
    asks: dict[str, Any] = {"on_error": OnError.pause, "max_retries": 0}
    return Workflow(
        "errors_decided",
        [
            Step("load", fails, **asks),
            Condition([Step("yes", told)], is_unknown, name="when", **asks),
            Step("save", told),
        ],
    )


def _together() -> Workflow:
    everything = Step("draft", told, requires_confirmation=True, hitl_timeout=A_DAY, **ANY, **AGAIN)
    loop = Loop([everything], name="refine", max_iterations=2, **ITERATION)
    return Workflow("modes_together", [Parallel(loop, Step("beside", told), name="all")])


def _timed_out() -> Workflow:
    skips: dict[str, Any] = {"hitl_timeout": A_MOMENT, "on_timeout": OnTimeout.skip}
    approves: dict[str, Any] = {"hitl_timeout": A_MOMENT, "on_timeout": OnTimeout.approve}
    optional = [UserInputField("why", required=False, value="because")]
    return Workflow(
        "modes_timed_out",
        [
            Step("defaults", told, user_input_schema=optional, **ANY, **approves),
            Router([Step("quick", told), Step("slow", told)], name="way", **ANY, **skips),
            Step("kept", told, **REVIEWED, **approves),
            Step("dropped", told, **REVIEWED, **skips),
            Loop([Step("refine", told)], name="refining", **ITERATION, **approves),
            Step("failed", fails, max_retries=0, on_error=OnError.pause, **skips),
        ],
    )


def _cancelled() -> Workflow:
    reviewed = Step("draft", told, hitl_timeout=A_MOMENT, on_timeout=OnTimeout.cancel, **REVIEWED)
    return Workflow("review_timed_out_cancel", [Step("load", told), reviewed])


def _continued() -> Workflow:
    form = [UserInputField("why")]
    draft = Step("draft", told, user_input_schema=form, hitl_timeout=A_DAY, **ANY, **AGAIN)
    count = Loop([Step("again", told)], name="count", max_iterations=25)
    return Workflow("modes_continued_as_new", [Parallel(draft, count, name="all")])


_ALL = (
    _forms(),
    _routes(),
    _outputs(),
    _routers(),
    _iterations(),
    _errors(),
    _together(),
    _timed_out(),
    _cancelled(),
    _continued(),
)
MODES = {each.name: each for each in _ALL}


def _answer(requirement_id: str, **values: Any) -> Answer:
    return Answer(requirement_id=requirement_id, values=values)


def _select(requirement_id: str, *choices: str) -> Select:
    return Select(requirement_id=requirement_id, choices=choices)


def _confirm(requirement_id: str) -> Confirm:
    return Confirm(requirement_id=requirement_id)


def _reject(requirement_id: str, feedback: str | None = None) -> Reject:
    return Reject(requirement_id=requirement_id, feedback=feedback)


ANSWERS: dict[str, list[AnyResolution]] = {
    "forms_filled_in": [
        _answer("fields", why="late"),
        _answer("schema", rows=7),
        _reject("declined"),
        _confirm("anything"),
        _answer("anything~2", free={"of": ["any", "form"]}),
    ],
    "routes_chosen": [
        _select("one_way", "steps_group_2"),
        _select("many_ways", "right", "left"),
    ],
    "outputs_reviewed": [
        _reject("draft", "say the name"),
        Edit(requirement_id="draft~2", output={"text": "Ada"}),
        _confirm("asked"),
        _reject("dropped"),
        _confirm("failed"),
    ],
    "router_reviewed": [
        _reject("way", "not so fast"),
        _select("way~2", "slow"),
        _confirm("way~3"),
    ],
    "iterations_reviewed": [
        _reject("refining.1", "longer"),
        _reject("refining.2"),
        Edit(requirement_id="polishing.1", output="polished"),
    ],
    "errors_decided": [
        Retry(requirement_id="load"),
        Skip(requirement_id="load~2"),
        Skip(requirement_id="when"),
    ],
    "modes_together": [
        _confirm("all.refine.1.draft"),
        _answer("all.refine.1.draft~2", n=1),
        _reject("all.refine.1.draft~3", "longer"),
        _confirm("all.refine.1.draft~4"),
        _reject("all.refine.1", "and shorter"),
        _confirm("all.refine.2.draft"),
        _answer("all.refine.2.draft~2", n=2),
        _confirm("all.refine.2.draft~3"),
        _confirm("all.refine.2"),
    ],
}
"""What people answer, in order."""
LATER: dict[str, list[AnyResolution]] = {
    "modes_continued_as_new": [
        _answer("all.draft", why="late"),
        _reject("all.draft~2", "longer"),
        _confirm("all.draft~3"),
    ],
}
"""The same, where the last answer is given in a later execution than those before."""
