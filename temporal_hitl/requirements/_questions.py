"""What a run waits for: one frozen model per kind of question, told apart by `kind`."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from temporal_hitl.errors import DefinitionError
from temporal_hitl.review import ApprovalType, OnReject, OnTimeout, UserInputField


def slug(name: str) -> str:
    """Return `name` as a segment of an id: `[a-z0-9_-]+`, safe in URLs and shells, typeable."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    segment = re.sub(r"[^a-z0-9_-]+", "_", plain.lower()).strip("_")
    if not segment:
        raise DefinitionError(f"{name!r} holds no letter or digit that an id could be made of")
    return segment


def digest_of(data: Any) -> str:
    """Return the SHA-256, in hex, of JSON data in one canonical spelling."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Wire(BaseModel):
    """A shape that crosses the wire: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Requirement(Wire):
    """One open question to a human; the classes below say which."""

    id: str
    """Unique in the run for ever, the same on every replay: `process_data`, `refine.3.draft~2`."""
    path: str
    """Where in the tree of the run it was asked."""
    name: str
    """What the author calls the place that asks: a step's name, a gate's name."""
    message: str
    """The question."""
    template: str | None = None
    """The question as its author wrote it, before it was filled in: what lists of all runs show, as
    these are read by more people than a run is."""
    created_at: datetime
    """When it was opened, by the run's own clock."""
    deadline: datetime | None = None
    """When `on_timeout` acts, if nobody has answered by then."""
    on_timeout: OnTimeout | None = None
    """What the deadline does; None where there is no deadline."""
    strict_deadline: bool = False
    """Whether an affirmative answer is refused from the deadline on, acted or not."""
    on_reject: OnReject | None = None
    """What a rejection does, where one is possible and the asker lets the library act on it."""
    round: int = 1
    """The how manieth time this place asks."""
    roles: tuple[str, ...] = ()
    """Who may answer, where not everybody may: whoever is signed as one of these."""
    excludes: tuple[str, ...] = ()
    """Who may not answer, whatever their roles: who asked for it, say."""
    approval: ApprovalType | None = None
    """Which approval it is, where it is one: then it is on file."""
    notify: tuple[str, ...] = ()
    """Who is told that it is open, about to be late, and closed: names of subscribers."""
    digest: str = ""
    """SHA-256 of what is shown; a resolution that carries another one is refused."""

    actions: ClassVar[frozenset[str]] = frozenset()
    """The actions that answer this kind."""
    beside: ClassVar[frozenset[str]] = frozenset()
    """The fields that are told with it, and are neither part of its digest nor kept."""

    def shown(self) -> dict[str, Any]:
        """Return what the person decides about, as JSON data: no ids, times or policies."""
        hidden = set(Requirement.model_fields) - {"name", "message"} | self.beside
        return self.model_dump(mode="json", exclude=hidden)

    def sealed(self) -> AnyRequirement:
        """Return a copy that carries the digest of what it shows."""
        return cast(AnyRequirement, self.model_copy(update={"digest": digest_of(self.shown())}))


class Confirmation(Requirement):
    """Go ahead, or not?"""

    kind: Literal["confirmation"] = "confirmation"
    actions = frozenset({"confirm", "reject"})


class UserInput(Requirement):
    """Fill in a form."""

    kind: Literal["user_input"] = "user_input"
    form: dict[str, JsonValue]
    """The form as JSON schema, good enough to render and to check an answer before it is sent."""
    fields: tuple[UserInputField, ...] = ()
    """The fields as seed 002 writes them, where the form was given so."""
    actions = frozenset({"answer", "reject"})


class Route(Requirement):
    """Choose which way to go on."""

    kind: Literal["route"] = "route"
    choices: tuple[str, ...]
    """The names to choose from."""
    allow_multiple: bool = False
    """Whether several may be chosen; they run in the order given."""
    actions = frozenset({"select", "reject"})


class PreviousOutput(Wire):
    """What was under review before this, and was rejected."""

    output: JsonValue = None
    feedback: str | None = None
    """What the rejection asked for."""
    left_out: int | None = None
    """How many bytes `output` has, where it is too large to be told; it is null then."""


class OutputReview(Requirement):
    """Keep, change or reject what was produced."""

    kind: Literal["output_review"] = "output_review"
    output: JsonValue
    """The output under review."""
    error: str | None = None
    """What went wrong, where a step failed, its author lets the run go on, and `output` is null."""
    retries: int = Field(default=0, ge=0)
    """How often an output of this node was rejected and made again so far."""
    retries_limit: int | None = None
    """After how many a rejection that asks for another one cancels the run."""
    previous: PreviousOutput | None = None
    """The output of the round before, to compare with; told by pipelines that still run."""
    actions = frozenset({"confirm", "reject", "edit"})
    beside = frozenset({"previous"})


class IterationReview(Requirement):
    """Accept this iteration, or go round again."""

    kind: Literal["iteration_review"] = "iteration_review"
    output: JsonValue
    """What the iteration produced."""
    iteration: int = Field(ge=1)
    """Which iteration it was, from 1."""
    max_iterations: int = Field(ge=1)
    """After how many the loop ends by itself."""
    previous: PreviousOutput | None = None
    """What the iteration before produced, to compare with; told by pipelines that still run."""
    actions = frozenset({"confirm", "reject", "edit"})
    beside = frozenset({"previous"})


class ErrorDecision(Requirement):
    """A step has failed: try again, or leave it out?"""

    kind: Literal["error"] = "error"
    error_type: str
    """The exception's qualified name."""
    error_message: str
    """What it said."""
    attempts: int = Field(ge=1)
    """How many executions have failed so far, as far as the failures tell."""
    retries: int = Field(default=0, ge=0)
    """How often a person has had it tried again so far."""
    retries_limit: int | None = None
    """After how many `retry` is no longer accepted."""
    actions = frozenset({"retry", "skip"})

    @property
    def is_spent(self) -> bool:
        """Whether only `skip` is left."""
        return self.retries_limit is not None and self.retries >= self.retries_limit


class _ToolCall(Requirement):
    tool_name: str
    """The tool that the agent wants to call."""
    tool_args: dict[str, JsonValue] = {}
    """The arguments that it wants to call it with."""
    agent_name: str | None = None
    """The agent, or the member of a team, that wants to call the tool."""


class ToolConfirmation(_ToolCall):
    """May the agent call this tool with these arguments?"""

    kind: Literal["tool_confirmation"] = "tool_confirmation"
    form: dict[str, JsonValue] = {}
    """The tool's arguments as JSON schema, by which edited ones are checked; empty for any."""
    problems: tuple[str, ...] = ()
    """Why the tool refused the arguments that a person gave before, where it did."""
    actions = frozenset({"confirm", "reject", "edit_arguments"})


class ToolInput(_ToolCall):
    """Fill in the arguments that the agent leaves to a person."""

    kind: Literal["tool_input"] = "tool_input"
    form: dict[str, JsonValue]
    """The form as JSON schema."""
    fields: tuple[UserInputField, ...] = ()
    """The fields, where the form was given so."""
    problems: tuple[str, ...] = ()
    """Why the tool refused the values that a person gave before, where it did."""
    actions = frozenset({"answer", "reject"})


class ToolExecution(_ToolCall):
    """Run the tool outside, and report its result."""

    kind: Literal["tool_execution"] = "tool_execution"
    actions = frozenset({"report", "reject"})


class ToolOutcome(_ToolCall):
    """Has this approved call happened? Its worker died in the midst of it, and nobody knows."""

    kind: Literal["tool_outcome"] = "tool_outcome"
    error_message: str
    """What is known of how it ended."""
    actions = frozenset({"report", "retry", "skip"})


class Question(Requirement):
    """The agent asks the user."""

    kind: Literal["question"] = "question"
    form: dict[str, JsonValue]
    """The form as JSON schema."""
    fields: tuple[UserInputField, ...] = ()
    """The fields, where the form was given so."""
    agent_name: str | None = None
    """The agent that asks."""
    actions = frozenset({"answer", "reject"})


AnyRequirement: TypeAlias = Annotated[
    Confirmation
    | UserInput
    | Route
    | OutputReview
    | IterationReview
    | ErrorDecision
    | ToolConfirmation
    | ToolInput
    | ToolExecution
    | ToolOutcome
    | Question,
    Field(discriminator="kind"),
]
