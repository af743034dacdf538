"""What an agent's turn is given and gives back: the seam between a run and whatever thinks in it.

An agent works in turns. A turn is one activity: it goes on until the agent is through, or until it
has called tools that a person decides about, or that must not run twice. The run asks, has the
tools run, and starts the next turn with what came of each call. Owns the shapes that cross, and the
`Adapter` that an agent framework is reached by. Knows no framework, and nothing of how a run asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from temporal_hitl._forms import UserInputField
from temporal_hitl.review import ApprovalType, OnTimeout

__all__ = [
    "Adapter",
    "AnyFed",
    "AnyTaken",
    "Asks",
    "Called",
    "CheckpointTooLarge",
    "Denied",
    "Exhausted",
    "Failed",
    "Finished",
    "FrameworkAgent",
    "Guard",
    "HasAdapter",
    "InvalidArguments",
    "Need",
    "Needs",
    "NotServed",
    "OutcomeUnknown",
    "Repaired",
    "ToolCall",
    "Turn",
    "Unfinished",
    "Value",
]


class _Crossing(BaseModel):
    # What a later version has more takes its default in an earlier one.
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


# What came of a call


class Value(_Crossing):
    """The call has a result: the tool's, a person's answer, or what ran outside gave."""

    kind: Literal["value"] = "value"
    call_id: str
    value: JsonValue = None
    """The result as the adapter froze it, or plain data that a person gave."""
    frozen: bool = False
    """Whether an adapter's `call` made `value`, which alone knows how to read it."""
    note: str | None = None
    """What the agent should know beside it: that a person edited the arguments, say."""


class Denied(_Crossing):
    """A person, or silence until the deadline, decided against the call."""

    kind: Literal["denied"] = "denied"
    call_id: str
    reason: str


class Repaired(_Crossing):
    """The tool wants to be called in another way, and says how."""

    kind: Literal["retry"] = "retry"
    call_id: str
    message: str


class Failed(_Crossing):
    """The call failed."""

    kind: Literal["failed"] = "failed"
    call_id: str
    message: str


AnyFed: TypeAlias = Annotated[Value | Denied | Repaired | Failed, Field(discriminator="kind")]
"""What came of one call, as the next turn is told."""


# What a turn needs


class Asks(StrEnum):
    """Whom a call waits for before, or instead of, its tool."""

    nobody = "nobody"
    """It runs, as an activity of its own."""
    confirmation = "confirmation"
    """A person says whether it runs, and with which arguments."""
    input = "input"
    """A person fills in the arguments that the agent does not see."""
    execution = "execution"
    """It runs outside, and somebody reports the result."""
    question = "question"
    """A person's answer is the result."""
    member = "member"
    """A member of the team does the task, in turns of its own."""


class Guard(_Crossing):
    """What stands before a tool."""

    asks: Asks = Asks.confirmation
    message: str | None = None
    """The question, where its author wrote one; `{name}` stands for an argument."""
    form: dict[str, JsonValue] = {}
    """As JSON schema: what a person fills in, or the tool's arguments where these may be edited."""
    fields: tuple[UserInputField, ...] = ()
    """The form's fields, where it was written so."""
    idempotent: bool = False
    """Whether an execution whose end nobody knows may simply be tried again."""
    timeout: float | None = None
    """Seconds until the question's deadline."""
    on_timeout: OnTimeout = OnTimeout.cancel
    strict_deadline: bool = False
    conditional: bool = False
    """Whether only some calls wait, as the agent's code says of their arguments."""
    alone: bool = False
    """Whether no other such tool of the step runs meanwhile, as it reads and changes what they
    share."""
    approval: ApprovalType | None = None
    """Whether its decisions are on file, and whether only certain people may take them."""
    roles: tuple[str, ...] = ()
    """Who may decide, where not everybody may; only what they have signed counts then."""
    excludes_requester: bool = False
    """Whether who started the run may not decide."""


class Need(Guard):
    """One call of an agent's that the run sees to."""

    call_id: str
    """The provider's id of the call: unique among the calls of one response, and no further."""
    tool: str
    """The name by which the agent calls the tool."""
    arguments: dict[str, JsonValue] = {}
    """As the agent gave them."""
    told: dict[str, JsonValue] = {}
    """What the tool's code says of this call, for who decides."""


# How a turn ends


class Called(_Crossing):
    """A tool that ran within a turn, for who looks on."""

    call_id: str
    tool: str
    outcome: Literal["value", "retry", "failed"] = "value"


class _Taken(_Crossing):
    keep: int = 0
    """How many of the messages from before the turn still stand."""
    new: list[JsonValue] = []
    """The messages after those."""
    usage: dict[str, JsonValue] = {}
    """Requests, tokens and tool calls so far, all turns together, as numbers that can be added."""
    called: list[Called] = []
    """The tools that ran in the turn."""
    made_by: str = ""
    """What made the messages: the adapter's framework and its version, `pydantic-ai 2.68.0`."""


class Finished(_Taken):
    """The agent is through."""

    kind: Literal["finished"] = "finished"
    output: JsonValue = None
    not_called: list[str] = []
    """Guarded tools that it called in the same response, about which nobody is asked."""


class Needs(_Taken):
    """The agent has called tools that the run sees to."""

    kind: Literal["needs"] = "needs"
    needs: list[Need]


class Unfinished(_Taken):
    """The turn ends early, and the next goes on: its worker stops, or it has become long."""

    kind: Literal["unfinished"] = "unfinished"


class Exhausted(_Taken):
    """The agent has used what it may use; trying again would not help."""

    kind: Literal["exhausted"] = "exhausted"
    error: str


AnyTaken: TypeAlias = Annotated[
    Finished | Needs | Unfinished | Exhausted, Field(discriminator="kind")
]
"""How a turn ended."""


# What an adapter is given


class HasAdapter(Protocol):
    """What may stand at `Step(agent=...)` and `Step(team=...)`, beside a plain function."""

    def hitl_adapter(self) -> Adapter:
        """Return how it takes part in runs."""
        ...


class FrameworkAgent(Protocol):
    """A pydantic-ai agent, told by what it has: the core knows no framework."""

    @property
    def toolsets(self) -> Sequence[Any]:
        """Where its tools are."""
        ...

    @property
    def output_type(self) -> Any:
        """What it gives."""
        ...


class InvalidArguments(Exception):
    """The arguments that a person gave do not fit the tool, which was not called."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)
        """Each as `where: what`."""


class NotServed(Exception):
    """This worker lacks what an agent at work needs: it waits for one that has it."""


class OutcomeUnknown(Exception):
    """Nobody knows whether a call has happened: a person is asked, and the agent told nothing."""


class CheckpointTooLarge(Exception):
    """The checkpoint was not saved; the one before it stands."""


@dataclass
class _InRun:
    run_id: str
    path: str
    """Of the step, and for a member of a team below it: `triage`, `triage.1.billing`."""
    session_id: str
    user_id: str | None
    attempt: int
    """From 1; above 1, an earlier execution failed or its worker died."""
    session_state: dict[str, Any]
    """What the run's steps share; changes are kept where this ends well, and with a checkpoint."""
    additional_data: dict[str, Any]


@dataclass
class Turn(_InRun):
    """One turn, as an adapter is given it."""

    number: int
    """From 1."""
    prompt: str | None
    """What the agent is to do; None from the second turn on."""
    answers: Sequence[AnyFed]
    """What came of each call of the turn before, in the order of the calls."""
    messages: list[Any]
    """The conversation so far, as the adapter gave it."""
    made_by: str
    """What made it, as the adapter said then; empty at first."""
    usage: dict[str, Any]
    guarded: frozenset[str]
    """The tools that the run's plan guards: they stay so, whatever the agent's code says now."""
    conditional: frozenset[str]
    """Those that it guards on a condition, which only the agent's code has: where that has none any
    more, they are guarded in every case."""
    checkpoint: Any
    """What an earlier execution of this turn saved last, or None."""
    save: Callable[[Any], None]
    """Saves a checkpoint, together with the session state as it is; raises `CheckpointTooLarge`
    where both are above 1.9 MB as JSON."""
    stops: Callable[[], bool]
    """Says whether the worker is about to stop: a good moment to end as `Unfinished`."""
    is_last: bool = False
    """Whether an error now fails the turn for good, and with it the checkpoint is lost."""
    counted: dict[str, Any] = field(default_factory=dict[str, Any])
    """Usage that counts for its limits beside: of a member's earlier tasks, of a team's members."""

    def beyond(self, messages: Sequence[Any]) -> tuple[int, list[Any]]:
        """Return how many of the turn's `messages` a conversation begins with, and what follows."""
        keep = 0
        for old, new in zip(self.messages, messages, strict=False):
            if old != new:
                break
            keep += 1
        return keep, list(messages[keep:])


@dataclass
class ToolCall(_InRun):
    """One call of a tool, as an adapter is given it once nothing stands against it."""

    tool: str
    call_id: str
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])


class Adapter(Protocol):
    """How a framework's agent takes part in runs. Everything that it does runs in activities."""

    @property
    def name(self) -> str:
        """The agent's name, of which activity types are made."""
        ...

    @property
    def digest(self) -> str:
        """A digest of what makes the agent what it is: a run tells when it has changed."""
        ...

    @property
    def guarded(self) -> Mapping[str, Guard]:
        """The tools that wait for somebody, by name, as far as they are known beforehand."""
        ...

    @property
    def tools(self) -> Sequence[str]:
        """The names of all tools known beforehand: each is an activity type of its own."""
        ...

    @property
    def members(self) -> Sequence[Adapter]:
        """The agents to which this one may give tasks, by `Asks.member`."""
        ...

    async def turn(self, turn: Turn) -> AnyTaken:
        """Let the agent work until it is through, or needs something.

        What it raises is an error of the turn, which is tried again by the step's retry policy, and
        no sooner than after the seconds in the error's `retry_after`; `NotServed` counts as none.
        """
        ...

    async def call(self, call: ToolCall) -> AnyFed:
        """Run one tool, and return what came of it; errors of the tool's are `Failed`.

        Raises:
            InvalidArguments: the arguments do not fit; the person who gave them is asked again.
            OutcomeUnknown: what executes the tool was lost meanwhile; a person is asked.
        """
        ...
