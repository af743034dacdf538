"""`Agent`: a model with tools, some of which wait for people; each of its runs is a Temporal
workflow named after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypedDict, Unpack

from pydantic_ai import Agent as PydanticAgent
from pydantic_ai import Tool
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.toolsets import AbstractToolset
from pydantic_ai.usage import UsageLimits

from temporal_hitl._arguments import Seconds, as_seconds, parse_enum, text
from temporal_hitl.agents._adapter import PydanticAdapter, timed
from temporal_hitl.agents._controls import ConfirmBeforeRun
from temporal_hitl.agents._foreign import Deps, can_pause, refuse
from temporal_hitl.agents._models import ModelLike, checked_model
from temporal_hitl.agents._runs import AgentRuns, Runnable
from temporal_hitl.agents._toolkit import Toolkit
from temporal_hitl.agents._tools import Function, as_function
from temporal_hitl.errors import DefinitionError
from temporal_hitl.pipeline import (
    InMemoryDb,
    PostgresDb,
    SqliteDb,
)
from temporal_hitl.primitives import Step
from temporal_hitl.requirements import digest_of
from temporal_hitl.review import PAUSE_ATTRIBUTE, OnError, OnTimeout
from temporal_hitl.turns import Adapter, Guard


class AgentOptions(TypedDict, total=False):
    """What an agent, or a team, takes beside its name, model and tools."""

    description: str | None
    output_type: Any
    """What it gives: text unless given; a Pydantic model, a dataclass, a list of these."""
    confirm_before_run: bool | ConfirmBeforeRun
    """Ask a person before the agent begins (seed 004)."""
    confirmation_message: str | None
    usage_limits: UsageLimits | Mapping[str, int] | None
    """What it may use in one run, all turns together: `{"request_limit": 20}`."""
    model_settings: Any
    """pydantic-ai's: `{"temperature": 0.1}`."""
    retries: int
    """How often the model may correct what it said before the turn fails."""
    max_retries: int
    """Executions of a turn after the first, where that failed: 3 unless given."""
    heartbeat_timeout: Seconds
    """After how much silence the worker of a turn, or of a tool, counts as dead: 20 seconds for a
    turn and 30 for a tool unless given."""
    hitl_timeout: Seconds | None
    """How long each question of its tools is open, unless the tool says."""
    on_timeout: OnTimeout | str
    """What the deadline does, unless the tool says."""
    db: SqliteDb | InMemoryDb | PostgresDb | None
    session_id: str | None
    session_state: Mapping[str, Any] | None
    task_queue: str
    notify: Sequence[str] | None
    """Who is told of what its own runs ask: names of subscribers."""


class Agent(Runnable):
    """A model with instructions and tools (seeds 003 and 004).

    Its runs are Temporal workflows named after it: `HitlPlugin(workflows=[agent])` serves them, and
    `Step(agent=agent)` makes it a step. Each turn, up to where it needs a person or is through, is
    an activity; a crash of its worker costs at most what was in flight. Tools that wait for people
    are activities of their own, as are those with `idempotent=False`.

    `model` is a pydantic-ai model, its name (`"openai:gpt-4o-mini"`) or `OpenAIChat(id=...)`;
    without one it is what `use_model` or `HITL_MODEL` says where the worker runs. `tools` are
    functions, `@tool`s, `Toolkit`s and pydantic-ai's own tools and toolsets.

    Raises:
        DefinitionError: an option that there is not, two tools of one name, what is no model.
    """

    def __init__(
        self,
        name: str = "agent",
        model: ModelLike | None = None,
        instructions: Any = None,
        tools: Sequence[Any] = (),
        **options: Unpack[AgentOptions],
    ) -> None:
        self.name = text(name, "Agent")
        where = f"Agent {self.name!r}"
        if unknown := sorted(options.keys() - AgentOptions.__annotations__.keys()):
            known = ", ".join(AgentOptions.__annotations__)
            raise DefinitionError(f"{where}: no option {unknown[0]!r}; an agent has {known}")
        self.model = None if model is None else checked_model(model, where)
        self.instructions = instructions
        self.description = options.get("description")
        self.tools = tuple(tools)
        self._options = options
        self._timeout = as_seconds(options.get("hitl_timeout"), f"{where}: hitl_timeout")
        self._on_timeout = parse_enum(
            OnTimeout, options.get("on_timeout", OnTimeout.cancel), f"{where}: on_timeout"
        )
        self.functions = self._functions(where)
        before = options.get("confirm_before_run", False)
        said = before.message if isinstance(before, ConfirmBeforeRun) else None
        marks = {
            "requires_confirmation": bool(before),
            "confirmation_message": options.get("confirmation_message") or said,
        }
        setattr(self, PAUSE_ATTRIBUTE, marks)
        self.workflow = self._workflow()

    def _functions(self, where: str) -> dict[str, Function]:
        there: dict[str, Function] = {}
        for each in (*self._listed(), *self._more()):
            if each.name in there:
                raise DefinitionError(f"{where}: two tools are called {each.name!r}")
            there[each.name] = each.complete().until(self._timeout, self._on_timeout)
        return there

    def _listed(self) -> list[Function]:
        listed: list[Function] = []
        for each in self.tools:
            if isinstance(each, Toolkit):
                listed += each.functions
            elif not isinstance(each, (Tool, AbstractToolset)):
                listed.append(as_function(each))
        return listed

    def _more(self) -> Sequence[Function]:
        return ()

    @property
    def _members(self) -> Sequence[Adapter]:
        return ()

    def _workflow(self) -> AgentRuns:
        names = ("db", "session_id", "session_state", "task_queue", "notify")
        options: dict[str, Any] = {**self._options}
        own = {each: options[each] for each in names if each in options}
        executed: Any = {
            e: options[e] for e in ("max_retries", "heartbeat_timeout") if e in options
        }
        # Of its own runs there is nothing beside it that could go on without it.
        step = Step(name=self.name, agent=self, on_error=OnError.fail, **executed)
        return AgentRuns(self.name, [step], description=self.description, **own)

    # How it takes part in runs

    def hitl_adapter(self) -> Adapter:
        """Return how it takes part in runs."""
        return self.adapter

    @cached_property
    def adapter(self) -> PydanticAdapter:
        """How it takes part in runs."""
        said = [str(self.instructions), *(each.instructions for each in self._toolkits())]
        return PydanticAdapter(
            name=self.name,
            agent=self._made(),
            functions=self.functions,
            model=self.model,
            limits=_limits(self._options.get("usage_limits"), f"Agent {self.name!r}"),
            settings=self._options.get("model_settings"),
            instructions_digest=digest_of(said),
            members=self._members,
            listed=self._guards(),
            deadline=_deadline(self._timeout, self._on_timeout),
        )

    def _guards(self) -> dict[str, Guard]:
        deadline = _deadline(self._timeout, self._on_timeout)
        return {
            name: timed(Guard(asks=asks), deadline)
            for toolkit in self._toolkits()
            for name, asks in toolkit.listed.items()
        }

    def _toolkits(self) -> list[Toolkit]:
        return [each for each in self.tools if isinstance(each, Toolkit)]

    def _made(self) -> PydanticAgent[Any, Any]:
        given: Any = self.instructions
        said: list[Any] = [*given] if isinstance(given, (list, tuple)) else [given]
        said += [each.instructions for each in self._toolkits()]
        theirs: list[Any] = [each for each in self.tools if isinstance(each, Tool)]
        toolsets: list[Any] = [each for each in self.tools if isinstance(each, AbstractToolset)]
        toolsets += [more for each in self._toolkits() for more in each.toolsets]
        return PydanticAgent(
            None,
            name=self.name,
            instructions=[each for each in said if each] or None,
            tools=[*(each.tool(hiding=True) for each in self.functions.values()), *theirs],
            toolsets=toolsets,
            output_type=[self._options.get("output_type", str), DeferredToolRequests],
            retries=self._options.get("retries", 1),
        )


def _limits(given: Any, where: str) -> UsageLimits | None:
    if given is None or isinstance(given, UsageLimits):
        return given
    try:
        return UsageLimits(**given)
    except TypeError as error:
        raise DefinitionError(f"{where}: usage_limits={given!r}: {error}") from None


def _deadline(timeout: float | None, on_timeout: OnTimeout) -> dict[str, Any]:
    return {} if timeout is None else {"timeout": timeout, "on_timeout": on_timeout}


class AdapterOptions(TypedDict, total=False):
    """What a pydantic-ai agent takes part in runs with, beside what it has."""

    deps: Deps | None
    """Makes its `deps` of the turn, or of the call of a tool: `lambda run: Shop(run.user_id)`.
    Without, these are its deps."""
    usage_limits: UsageLimits | Mapping[str, int] | None
    """What it may use in one run, all turns together."""
    hitl_timeout: Seconds | None
    """How long each question of its tools is open."""
    on_timeout: OnTimeout | str
    """What the deadline does."""


def adapter_of(
    agent: PydanticAgent[Any, Any], **options: Unpack[AdapterOptions]
) -> PydanticAdapter:
    """Return how a pydantic-ai agent takes part in runs, as it is: `Step(agent=adapter_of(agent))`,
    for which `Step(agent=agent)` is short where there are no options.

    Its tools that need approval are asked about, and its external tools report from outside.

    Raises:
        DefinitionError: it has no name, of which activity types are made; its `deps_type` is none
            that a run has, and no `deps` makes it; it decides by itself about calls that wait, may
            end with a response that is pending, or has output validators beside an `output_type`
            without `DeferredToolRequests`.
    """
    if not agent.name:
        raise DefinitionError(
            f"{agent!r} has no name; give it name='...', which becomes the step's"
        )
    where = f"agent {agent.name!r}"
    if unknown := sorted(options.keys() - AdapterOptions.__annotations__.keys()):
        known = ", ".join(AdapterOptions.__annotations__)
        raise DefinitionError(f"{where}: no option {unknown[0]!r}; adapter_of has {known}")
    deps = options.get("deps")
    refuse(agent, where, deps)
    timeout = as_seconds(options.get("hitl_timeout"), f"{where}: hitl_timeout")
    silence = options.get("on_timeout", OnTimeout.cancel)
    return PydanticAdapter(
        name=agent.name,
        agent=agent,
        deferred=[] if can_pause(agent.output_type) else [agent.output_type],
        limits=_limits(options.get("usage_limits"), where),
        deadline=_deadline(timeout, parse_enum(OnTimeout, silence, f"{where}: on_timeout")),
        deps=deps,
    )
