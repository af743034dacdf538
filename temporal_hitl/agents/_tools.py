"""Tools as authors write them: a function, and what stands before it.

Owns the seeds' words for that (`@tool(...)`) and the checks of them. Knows nothing of agents.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict, Unpack, get_type_hints, overload

from pydantic_ai import RunContext, Tool

from temporal_hitl._arguments import Seconds, as_seconds, parse_enum, text
from temporal_hitl._source import source_digest
from temporal_hitl.errors import DefinitionError
from temporal_hitl.requirements import digest_of
from temporal_hitl.review import ApprovalType, OnTimeout
from temporal_hitl.turns import Asks, Guard

Predicate = Callable[..., bool]

INJECTED = ("session_state", "run_context")
"""Parameters of a tool that the run fills in, and no model sees."""


_MARK = "__hitl_approval__"


@dataclass(frozen=True)
class Approving:
    """What `@approval` says."""

    type: ApprovalType
    roles: tuple[str, ...] = ()
    not_requester: bool = False

    @property
    def is_required(self) -> bool:
        """Whether nothing is executed that certain people have not approved."""
        return self.type is ApprovalType.required

    def on(self, guard: Guard) -> Guard:
        """Return a guard that is an approval; a required one has a strict deadline."""
        says = {
            "approval": self.type,
            "roles": self.roles,
            "excludes_requester": self.not_requester,
            "strict_deadline": guard.strict_deadline or self.is_required,
        }
        return guard.model_copy(update=says)


def marked(function: Any, policy: Approving) -> Any:
    """Return `function` with a mark that makes its tool an approval."""
    setattr(function, _MARK, policy)
    return function


def policy_of(function: Any) -> Approving | None:
    """Return what `@approval` says of a function, where it is marked."""
    return getattr(function, _MARK, None)


class ToolOptions(TypedDict, total=False):
    """What `@tool` takes: what stands before a tool, and how it is executed."""

    name: str | None
    """What the model calls it by; the function's name unless given."""
    description: str | None
    """What the model is told of it; the function's docstring unless given."""
    requires_confirmation: bool | Predicate
    """A person approves each call, or each of whose arguments this function says so."""
    requires_user_input: bool
    """A person fills in, or corrects, the arguments."""
    user_input_fields: Sequence[str]
    """Which of them: these the model does not see. They alone say `requires_user_input`."""
    external_execution: bool
    """Somebody outside runs it, and reports."""
    stop_before_execution: bool
    """`requires_confirmation`, as seed 004 spells it."""
    execution_message: str | None
    """The question; `{name}` stands for an argument. It reaches lists of all runs as written."""
    idempotent: bool | None
    """Whether to execute it again does no harm. An approved tool is executed once unless it does;
    with False, so is one that nobody is asked about, as an activity of its own."""
    timeout: Seconds | None
    """How long the question is open; for ever, or what the agent says, unless given."""
    on_timeout: OnTimeout | str
    """What the deadline does: `cancel` ends the run; with `skip` the agent is told that nobody
    decided."""
    strict_deadline: bool
    retries: int
    """How often the model may correct its arguments; as often as the agent says unless given."""


class Function:
    """A function as a tool: what the model sees of it, and who is asked before it is called.

    It may take `session_state`, what the run's steps share, and `run_context`. Those that do and
    are called as activities of their own run one after another, so that no change is lost.
    """

    def __init__(self, function: Callable[..., Any], **options: Unpack[ToolOptions]) -> None:
        if not callable(function):
            raise DefinitionError(f"tool: {function!r} cannot be called")
        self.function = function
        self.name = text(options.get("name") or getattr(function, "__name__", ""), "tool")
        where = f"tool {self.name!r}"
        if unknown := sorted(options.keys() - ToolOptions.__annotations__.keys()):
            known = ", ".join(ToolOptions.__annotations__)
            raise DefinitionError(f"{where}: no option {unknown[0]!r}; a tool has {known}")
        self.description = options.get("description")
        self.retries = options.get("retries")
        confirms = options.get("requires_confirmation", False)
        self.predicate: Predicate | None = confirms if callable(confirms) else None
        """Says of the arguments whether a person is asked; None where one always is, or never."""
        self.hidden = tuple(options.get("user_input_fields", ()))
        """The parameters that no model sees."""
        self._check_hidden(where)
        self._asks = _asked_of(where, options)
        self._limits = _limits(where, options)
        cannot = self._asks is not Asks.confirmation
        if cannot and self._limits["on_timeout"] is OnTimeout.approve:
            raise DefinitionError(f"{where}: on_timeout='approve' cannot answer for a person")
        self.approving: Approving | None = policy_of(function)
        """Whether its calls are approvals."""
        self._check_deadline()

    def _check_hidden(self, where: str) -> None:
        there = inspect.signature(self.function).parameters
        for field in self.hidden:
            if field not in there:
                raise DefinitionError(
                    f"{where}: user_input_fields names {field!r}, which is no parameter of it;"
                    f" it has {', '.join(there) or 'none'}"
                )

    def _check_deadline(self) -> None:
        if self._is_required and self._limits["on_timeout"] is OnTimeout.approve:
            raise DefinitionError(
                f"tool {self.name!r}: on_timeout='approve', and it needs an approval: what nobody"
                " has approved is never executed; use 'skip' or 'cancel'"
            )

    @property
    def _is_required(self) -> bool:
        return self.approving is not None and self.approving.is_required

    def approved_by(self, policy: Approving) -> Function:
        """Return this tool as an approval; raises `DefinitionError` where it can be none."""
        made = self._with(approving=policy)
        made._check_deadline()
        return made.complete()

    def complete(self) -> Function:
        """Return this tool; raises `DefinitionError` where it is an audit of what asks nobody."""
        if self.approving is not None and self._asked in (None, Asks.nobody):
            raise DefinitionError(
                f"tool {self.name!r}: @approval(type='audit') keeps what people decide, and this"
                " tool asks nobody: add requires_confirmation=True, or use type='required'"
            )
        return self

    @property
    def _asked(self) -> Asks | None:
        # An approval asks, whatever else the tool says.
        asks = self._asks
        return Asks.confirmation if self._is_required and asks in (None, Asks.nobody) else asks

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, asking nobody."""
        return self.function(*args, **kwargs)

    def guarded_by(self, asks: Asks) -> Function:
        """Return this tool with `asks` before it, where its author wrote nothing else."""
        if self._asks not in (None, asks):
            raise DefinitionError(
                f"tool {self.name!r} is marked as {self._asks} where it is defined, and as {asks}"
                " by its toolkit; keep one"
            )
        return self._with(_asks=asks)

    def _with(self, **changed: Any) -> Function:
        made = copy(self)
        vars(made).update(changed)
        return made

    def until(self, timeout: float | None, on_timeout: OnTimeout) -> Function:
        """Return this tool with a deadline, where its author wrote none."""
        asks = self._asked
        if timeout is None or self._limits["timeout"] is not None:
            return self
        may = asks is Asks.confirmation and not self._is_required
        cannot = on_timeout is OnTimeout.approve and not may
        limits = {"timeout": timeout, "on_timeout": OnTimeout.skip if cannot else on_timeout}
        return self._with(_limits={**self._limits, **limits})

    @property
    def guard(self) -> Guard | None:
        """What stands before it, or None where the agent may call it alone."""
        if self._asked is None:
            return None
        there = inspect.signature(self.function).parameters
        guard = Guard(
            asks=self._asked,
            form=self._form(),
            conditional=self.predicate is not None,
            alone=any(each in there for each in INJECTED),
            **self._limits,
        )
        return guard if self.approving is None else self.approving.on(guard)

    @property
    def deadline(self) -> dict[str, Any]:
        """The fields of a `Guard` that say how long a question of its own is open."""
        names = ("timeout", "on_timeout", "strict_deadline")
        return {name: self._limits[name] for name in names}

    def _form(self) -> dict[str, Any]:
        # The whole of it: a person sees what the agent filled in, and may correct it.
        asks = self._asked in (Asks.confirmation, Asks.input)
        return dict(self.parameters) if asks else {}

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """All its arguments as JSON schema."""
        # Of its function and its name, which `_with` leaves as they are.
        return self.tool().tool_def.parameters_json_schema

    @property
    def digest(self) -> str:
        """The digest of its source, and of what stands before it."""
        guard = self.guard
        said = None if guard is None else guard.model_dump(mode="json")
        condition = None if self.predicate is None else source_digest(self.predicate)
        return digest_of([source_digest(self.function), said, condition])

    def tool(self, *, hiding: bool = False) -> Tool[Any]:
        """Return it as the framework's own; `hiding` leaves out what only a person fills in."""
        return Tool(
            _shown(self.function, self.name, self.hidden if hiding else ()),
            takes_ctx=True,
            name=self.name,
            description=self.description,
            max_retries=self.retries,
        )


def _asked_of(where: str, options: ToolOptions) -> Asks | None:
    stops = options.get("requires_confirmation") or options.get("stop_before_execution")
    fills = options.get("requires_user_input") or options.get("user_input_fields")
    outside = options.get("external_execution")
    kinds = {Asks.confirmation: stops, Asks.input: fills, Asks.execution: outside}
    wanted = [kind for kind, is_wanted in kinds.items() if is_wanted]
    if len(wanted) > 1:
        raise DefinitionError(
            f"{where}: one of requires_confirmation, requires_user_input and external_execution"
            f" may be true, not {' and '.join(wanted)}"
        )
    once = options.get("idempotent") is False
    return wanted[0] if wanted else Asks.nobody if once else None


def _limits(where: str, options: ToolOptions) -> dict[str, Any]:
    on_timeout = options.get("on_timeout", OnTimeout.cancel)
    return {
        "message": options.get("execution_message"),
        "idempotent": bool(options.get("idempotent")),
        "timeout": as_seconds(options.get("timeout"), f"{where}: timeout"),
        "on_timeout": parse_enum(OnTimeout, on_timeout, f"{where}: on_timeout"),
        "strict_deadline": options.get("strict_deadline", False),
    }


def _shown(function: Callable[..., Any], name: str, hidden: Sequence[str]) -> Callable[..., Any]:
    """Return a function whose signature is what a model may fill in, after the run's context."""
    signature = inspect.signature(function)
    takes = [each for each in INJECTED if each in signature.parameters]
    hints = get_type_hints(_annotated(function), include_extras=True)
    context = inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_ONLY, annotation=RunContext[Any]
    )
    framework = [key for key, hint in hints.items() if _is_context(hint)]
    left = [
        each.replace(annotation=hints.get(key, each.annotation))
        for key, each in signature.parameters.items()
        if key not in (*hidden, *takes, *framework)
    ]

    def given(ctx: RunContext[Any]) -> dict[str, Any]:
        own = {"session_state": ctx.deps.session_state, "run_context": ctx.deps} if takes else {}
        return {each: own[each] for each in takes} | dict.fromkeys(framework, ctx)

    async def on_loop(ctx: RunContext[Any], /, **arguments: Any) -> Any:
        return await function(**arguments, **given(ctx))

    def in_thread(ctx: RunContext[Any], /, **arguments: Any) -> Any:
        return function(**arguments, **given(ctx))

    shown: Any = on_loop if inspect.iscoroutinefunction(function) else in_thread
    shown.__name__, shown.__qualname__, shown.__doc__ = name, name, function.__doc__
    shown.__module__ = function.__module__
    kept = {each.name: each.annotation for each in left if each.annotation is not each.empty}
    shown.__annotations__ = {"ctx": RunContext[Any], **kept, "return": hints.get("return", Any)}
    shown.__signature__ = signature.replace(parameters=[context, *left])
    return shown


def _annotated(function: Any) -> Any:
    return function if inspect.isroutine(function) else function.__call__


def _is_context(hint: Any) -> bool:
    return hint is RunContext or getattr(hint, "__origin__", None) is RunContext


@overload
def tool(function: Callable[..., Any], /) -> Function: ...
@overload
def tool(**options: Unpack[ToolOptions]) -> Callable[[Callable[..., Any]], Function]: ...
def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a tool of a function, and say what stands before it (seeds 003 and 004): `@tool`, or
    `@tool(...)` with `ToolOptions`.

    Raises:
        DefinitionError: two of them at once, an option that there is not, a field that is no
            parameter.
    """
    if function is not None:
        return Function(function).complete()

    def make(function: Callable[..., Any]) -> Function:
        return Function(function, **options).complete()

    return make


def as_function(value: Any) -> Function:
    """Return what an author lists among an agent's tools as a `Function`."""
    if isinstance(value, Function):
        return value
    if callable(value) and not isinstance(value, type):
        return Function(value)
    raise DefinitionError(f"{value!r} is no tool: give a function, `@tool`, or a Toolkit")
