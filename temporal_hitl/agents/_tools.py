"""Tools as authors write them: a function, and what stands before it.

Owns the seeds' words for that (`@tool(...)`, toolkits with lists of guarded tools) and the checks
of them. Knows nothing of agents.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_type_hints, overload

from pydantic_ai import RunContext, Tool

from temporal_hitl._arguments import Seconds, as_seconds, parse_enum, text
from temporal_hitl._source import source_digest
from temporal_hitl.errors import DefinitionError
from temporal_hitl.review import OnTimeout
from temporal_hitl.turns import Asks, Guard

Predicate = Callable[..., bool]
F = TypeVar("F", bound=Callable[..., Any])

INJECTED = ("session_state", "run_context")
"""Parameters of a tool that the run fills in, and no model sees."""


class Function:
    """A function as a tool: what the model sees of it, and who is asked before it is called."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        requires_confirmation: bool | Predicate = False,
        requires_user_input: bool = False,
        user_input_fields: Sequence[str] = (),
        external_execution: bool = False,
        stop_before_execution: bool = False,
        execution_message: str | None = None,
        idempotent: bool | None = None,
        timeout: Seconds | None = None,
        on_timeout: OnTimeout | str = OnTimeout.cancel,
        strict_deadline: bool = False,
        retries: int = 1,
        **unknown: Any,
    ) -> None:
        if not callable(function):
            raise DefinitionError(f"tool: {function!r} cannot be called")
        self.function = function
        self.name = text(name or getattr(function, "__name__", ""), "tool")
        where = f"tool {self.name!r}"
        if unknown:
            known = ", ".join(OPTIONS)
            raise DefinitionError(f"{where}: no option {min(unknown)!r}; a tool has {known}")
        self.description = description
        self.retries = retries
        self.predicate = requires_confirmation if callable(requires_confirmation) else None
        confirms = bool(requires_confirmation) or stop_before_execution
        self.hidden = tuple(user_input_fields)
        self._check_hidden(where)
        kinds = {
            Asks.confirmation: confirms,
            Asks.input: requires_user_input or bool(user_input_fields),
            Asks.execution: external_execution,
        }
        wanted = [kind for kind, is_wanted in kinds.items() if is_wanted]
        if len(wanted) > 1:
            raise DefinitionError(
                f"{where}: one of requires_confirmation, requires_user_input and external_execution"
                f" may be true, not {' and '.join(wanted)}"
            )
        self._asks = wanted[0] if wanted else Asks.nobody if idempotent is False else None
        self._limits: dict[str, Any] = {
            "message": execution_message,
            "idempotent": bool(idempotent),
            "timeout": as_seconds(timeout, f"{where}: timeout"),
            "on_timeout": parse_enum(OnTimeout, on_timeout, f"{where}: on_timeout"),
            "strict_deadline": strict_deadline,
        }
        cannot = self._asks in (Asks.input, Asks.execution)
        if cannot and self._limits["on_timeout"] is OnTimeout.approve:
            raise DefinitionError(f"{where}: on_timeout='approve' cannot answer for a person")

    def _check_hidden(self, where: str) -> None:
        there = inspect.signature(self.function).parameters
        for field in self.hidden:
            if field not in there:
                raise DefinitionError(
                    f"{where}: user_input_fields names {field!r}, which is no parameter of it;"
                    f" it has {', '.join(there) or 'none'}"
                )

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
        made = Function(self.function, name=self.name, description=self.description)
        made.__dict__ = {**self.__dict__, "_asks": asks}
        return made

    def until(self, timeout: float | None, on_timeout: OnTimeout) -> Function:
        """Return this tool with a deadline, where its author wrote none."""
        if timeout is None or self._limits["timeout"] is not None or self._asks is None:
            return self
        cannot = on_timeout is OnTimeout.approve and self._asks is not Asks.confirmation
        limits = {"timeout": timeout, "on_timeout": OnTimeout.skip if cannot else on_timeout}
        made = Function(self.function, name=self.name, description=self.description)
        made.__dict__ = {**self.__dict__, "_limits": {**self._limits, **limits}}
        return made

    @property
    def guard(self) -> Guard | None:
        """What stands before it, or None where the agent may call it alone."""
        if self._asks is None:
            return None
        return Guard(asks=self._asks, form=self._form(), **self._limits)

    def _form(self) -> dict[str, Any]:
        match self._asks:
            case Asks.confirmation:
                return self.parameters
            case Asks.input:
                return only(self.parameters, self.hidden)
            case _:
                return {}

    @property
    def parameters(self) -> dict[str, Any]:
        """All its arguments as JSON schema."""
        return dict(self.tool().tool_def.parameters_json_schema)

    @property
    def digest(self) -> str:
        """The digest of its source."""
        return source_digest(self.function)

    def tool(self, *, hiding: bool = False) -> Tool[Any]:
        """Return it as the framework's own; `hiding` leaves out what only a person fills in."""
        return Tool(
            _shown(self.function, self.name, self.hidden if hiding else ()),
            takes_ctx=True,
            name=self.name,
            description=self.description,
            max_retries=self.retries,
        )


OPTIONS = tuple(
    name
    for name, each in inspect.signature(Function.__init__).parameters.items()
    if each.kind is each.KEYWORD_ONLY
)


def only(schema: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Return the schema of an object with `fields` alone; with all where there are none."""
    if not fields:
        return dict(schema)
    properties = {name: schema["properties"][name] for name in fields}
    required = [name for name in schema.get("required", ()) if name in fields]
    return {**schema, "properties": properties, "required": required}


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
def tool(**options: Any) -> Callable[[Callable[..., Any]], Function]: ...
def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a tool of a function, and say what stands before it (seeds 003 and 004).

    `requires_confirmation` (also as `stop_before_execution`) has a person approve each call, True
    or a function of the arguments that says whether; `requires_user_input`, or `user_input_fields`
    alone, has a person fill in what is named, or all, which the model then does not see;
    `external_execution` has somebody outside run it and report. `execution_message` is the
    question, in which `{name}` stands for an argument; `timeout`, `on_timeout` and
    `strict_deadline` are those of any question. An approved tool is executed once, unless it is
    `idempotent`; with `idempotent=False` a tool that nobody is asked about is executed once as
    well, as an activity of its own.

    Raises:
        DefinitionError: two of them at once, an option that there is not, a field that is no
            parameter.
    """
    if function is not None:
        return Function(function)
    return lambda function: Function(function, **options)


def as_function(value: Any) -> Function:
    """Return what an author lists among an agent's tools as a `Function`."""
    if isinstance(value, Function):
        return value
    if callable(value) and not isinstance(value, type):
        return Function(value)
    raise DefinitionError(f"{value!r} is no tool: give a function, `@tool`, or a Toolkit")


class Toolkit:
    """Tools that belong together, with lists of those that are guarded.

    Raises:
        DefinitionError: a list names a tool that is not there: it would run unguarded.
    """

    def __init__(
        self,
        name: str = "toolkit",
        tools: Sequence[Any] = (),
        *,
        instructions: str | None = None,
        requires_confirmation_tools: Sequence[str] = (),
        external_execution_required_tools: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.instructions = instructions
        there = {each.name: each for each in map(as_function, tools)}
        guarded = {
            Asks.confirmation: requires_confirmation_tools,
            Asks.execution: external_execution_required_tools,
        }
        for asks, names in guarded.items():
            for each in names:
                if each not in there:
                    raise DefinitionError(
                        f"toolkit {name!r}: {each!r} is to be guarded, and is not there; it has"
                        f" {', '.join(there) or 'no tools'}"
                    )
                there[each] = there[each].guarded_by(asks)
        self.functions: tuple[Function, ...] = tuple(there.values())
