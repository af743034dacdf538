"""Toolkits by which an agent asks the user by itself (seed 003, "Dynamic User Input"), and the
names that seed 004 imports from `agno.execution_control`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict, Unpack

from pydantic import BaseModel, Field
from pydantic_ai.exceptions import CallDeferred, ModelRetry

from temporal_hitl._arguments import Seconds
from temporal_hitl._forms import Form
from temporal_hitl.agents._adapter import GUARD
from temporal_hitl.agents._fields import DESCRIPTIONS, HEADER
from temporal_hitl.agents._toolkit import Toolkit
from temporal_hitl.agents._tools import Function, as_function
from temporal_hitl.errors import DefinitionError
from temporal_hitl.review import OnTimeout, UserInputField
from temporal_hitl.turns import Asks, Guard

_INPUT = (
    "Ask the user by get_user_input, and not in prose, for what you need and do not have: for all"
    " of it at once, for nothing twice. Take the values as they are given."
)
_FEEDBACK = "Where the user has to choose, ask by ask_user, and not in prose."


class AskedField(BaseModel):
    """One value that an agent asks for."""

    field_name: str = Field(min_length=1)
    field_type: Literal["str", "int", "float", "bool", "list", "dict"] = "str"
    field_description: str | None = None


class AskUserOption(BaseModel):
    """One answer that the user may choose."""

    label: str
    description: str | None = None


class AskUserQuestion(BaseModel):
    """One question that the user answers by choosing."""

    question: str
    header: str | None = None
    options: Annotated[list[AskUserOption], Field(min_length=2)]
    multi_select: bool = False


def _deferred(guard: Guard) -> CallDeferred:
    return CallDeferred(kind="question", metadata={GUARD: guard.model_dump(mode="json")})


def get_user_input(user_input_fields: list[AskedField]) -> str:
    """Ask the user to fill in values, and return them."""
    fields = [
        UserInputField(each.field_name, each.field_type, description=each.field_description)
        for each in user_input_fields
    ]
    try:
        form = Form.of(fields, "get_user_input")
    except DefinitionError as error:
        raise ModelRetry(str(error)) from error
    raise _deferred(Guard(asks=Asks.question, form=form.schema, fields=form.fields))


def ask_user(questions: list[AskUserQuestion]) -> str:
    """Ask the user to choose among the options of each question, and return what was chosen."""
    if len({each.question for each in questions}) < len(questions) or not questions:
        raise ModelRetry("ask different questions, at least one")
    form: dict[str, Any] = {
        "type": "object",
        "properties": {each.question: _choice(each) for each in questions},
        "required": [each.question for each in questions],
        "additionalProperties": False,
    }
    raise _deferred(Guard(asks=Asks.question, form=form))


def _choice(asked: AskUserQuestion) -> dict[str, Any]:
    told = "; ".join(f"{e.label}: {e.description}" for e in asked.options if e.description)
    # Whoever fills the form in reads the title, a program that asks for it the short header.
    named = {"title": asked.question, HEADER: asked.header, "description": told}
    named = {key: each for key, each in named.items() if each}
    one: dict[str, Any] = {"type": "string", "enum": [each.label for each in asked.options]}
    if told:
        one[DESCRIPTIONS] = [each.description or "" for each in asked.options]
    if asked.multi_select:
        return {"type": "array", "items": one, "uniqueItems": True, "minItems": 1, **named}
    return {**one, **named}


class QuestionOptions(TypedDict, total=False):
    """How long a question of the agent's is open, unless the agent says it for all of its tools."""

    timeout: Seconds | None
    on_timeout: OnTimeout | str
    """`cancel`, unless given, ends the run; with `skip` the agent is told that nobody answered."""
    strict_deadline: bool


class UserControlFlowTools(Toolkit):
    """Lets an agent ask the user for values that it needs, by a form that it makes itself."""

    def __init__(
        self, instructions: str | None = _INPUT, **deadline: Unpack[QuestionOptions]
    ) -> None:
        tools = [Function(get_user_input, **deadline)]
        super().__init__("user_control_flow_tools", tools, instructions=instructions)


class UserFeedbackTools(Toolkit):
    """Lets an agent ask the user to choose among options that it makes itself."""

    def __init__(
        self, instructions: str | None = _FEEDBACK, **deadline: Unpack[QuestionOptions]
    ) -> None:
        tools = [Function(ask_user, **deadline)]
        super().__init__("user_feedback_tools", tools, instructions=instructions)


@dataclass(frozen=True)
class ConfirmBeforeRun:
    """`Agent(confirm_before_run=ConfirmBeforeRun("Go on?"))`: True, with the message beside it."""

    message: str | None = None


class ExternalExecution(Toolkit):
    """Tools all of which run outside: `tools=[ExternalExecution(get_approval)]` stands for
    `@tool(external_execution=True)` on each of them.
    """

    def __init__(self, *tools: Any, instructions: str | None = None) -> None:
        made: Sequence[Function] = [as_function(each).guarded_by(Asks.execution) for each in tools]
        super().__init__("external_execution", made, instructions=instructions)
