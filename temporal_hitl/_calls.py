"""What crosses between a run and its activities, as frozen data.

Both sides hand over plain JSON (`to_wire`, `from_wire`), so that any data converter that a user has
will do.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from temporal_hitl._wire import read
from temporal_hitl.plan import Plan
from temporal_hitl.run import StepInput, StepOutput
from temporal_hitl.turns import AnyFed

Role = Literal[
    "executor",
    "evaluator",
    "selector",
    "end_condition",
    "should_continue",
    "output_review",
    "turn",
    "tool",
]
INVALID_ARGUMENTS = "temporal_hitl.InvalidArguments"
"""The error type of a tool's activity that was given what the tool does not take."""
OUTCOME_UNKNOWN = "temporal_hitl.OutcomeUnknown"
"""The error type of a tool's activity that does not know how far its tool came."""
_AT_ITS_PATH = ("executor", "turn", "tool")
_OF_AGENTS = ("turn", "tool", "messages", "answers")


class _Crossing(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    @classmethod
    def from_wire(cls, data: Any) -> Self:
        return read(cls, data)


class TurnGiven(_Crossing):
    """What one turn of an agent is given beside the step's input."""

    number: int
    task: str | None = None
    """What a member of a team is to do; the step's input says it otherwise."""
    usage: dict[str, Any] = {}
    counted: dict[str, Any] = {}
    made_by: str = ""
    guarded: list[str] = []
    conditional: list[str] = []


class ToolGiven(_Crossing):
    """What one call of an agent's tool is given."""

    tool: str
    call_id: str
    arguments: dict[str, Any] = {}


class ActivityCall(_Crossing):
    """What an activity is given to call the author's function with."""

    role: Role
    path: str
    name: str
    step_input: StepInput = StepInput()
    more_outputs: bool = False
    """Whether there are more outputs than `step_input` holds: the run is asked for them."""
    left_out: list[str] = []
    """What else is too large to travel, fields of this or of `step_input`: asked for as well."""
    session_state: dict[str, Any] = {}
    session_id: str = ""
    user_id: str | None = None
    outputs: list[StepOutput] = []
    """For an `end_condition`: the iteration's outputs; for an `output_review`: the one output."""
    turn: TurnGiven | None = None
    tool: ToolGiven | None = None
    messages: list[Any] = []
    """For a `turn`: the conversation so far."""
    answers: list[AnyFed] = []
    """For a `turn`: what came of each call of the one before."""

    def to_wire(self) -> dict[str, Any]:
        # All that travels stands in history once per call.
        return {k: v for k, v in super().to_wire().items() if v or k not in _OF_AGENTS}


class PlanFound(_Crossing):
    """What a run is told when it looks up its plan."""

    plan: Plan
    external_storage: bool = False
    """Whether the data converter keeps large values outside: then no size needs to be refused."""
    notify: tuple[str, ...] = ()
    """Whom the worker tells where the plan says nothing."""

    @property
    def subscribers(self) -> tuple[str, ...]:
        """Who is told of what nodes ask that say nothing themselves."""
        return self.notify if self.plan.notify is None else self.plan.notify


def activity_id_of(asked: ActivityCall) -> str:
    """Return the id under which the call is scheduled: its node's path, and its role if another."""
    return asked.path if asked.role in _AT_ITS_PATH else f"{asked.path}.{asked.role}"


class ActivityResult(_Crossing):
    """What an activity gives back."""

    digest: str
    """Of the source that ran."""
    function: str
    output: StepOutput | None = None
    """An executor's product."""
    value: Any = None
    """A predicate's bool, a selector's names, how a turn ended, what came of a tool's call."""
    state_changes: dict[str, Any] = {}
    state_removed: list[str] = []
