"""Everything that touches the outside: runs the author's functions as activities, and looks plans
up.

Owns how a function is called (by which arguments, in a thread or on the loop), how what it returns
becomes data, and under which names its failures cross Temporal.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError

from temporal_hitl._agent_activities import agent_activity
from temporal_hitl._beats import beating, beating_on_loop
from temporal_hitl._calls import ActivityCall, ActivityResult, PlanFound
from temporal_hitl._child_end import ChildEnd
from temporal_hitl._line import Line
from temporal_hitl._registry import Registry
from temporal_hitl._returning import StateChanges, as_failure, as_json, checked
from temporal_hitl._source import is_async, qualified_name
from temporal_hitl._subscribers import default_subscribers
from temporal_hitl.errors import DefinitionError, RunNotFound, wire_type
from temporal_hitl.plan import child_activity, plan_activity
from temporal_hitl.primitives import Executor, Node
from temporal_hitl.run import StepOutput


@dataclass
class RunContext:
    """What an executor that has a parameter `run_context` is told about its run."""

    run_id: str
    path: str
    session_id: str
    user_id: str | None
    attempt: int
    """From 1; above 1, an earlier execution failed or its worker died."""
    session_state: dict[str, Any] = field(default_factory=dict[str, Any])


def activities_of(registry: Registry, line: Line) -> list[Callable[..., Any]]:
    """Return an activity per served function, and per pipeline one that looks its plan up and one
    that looks for child runs.
    """
    plans = [_plan(registry, line, name) for name in registry.names]
    children = [_child(line, name) for name in registry.names]
    return [*plans, *children, *(_activity(registry, line, name) for name in registry.served)]


def _plan(registry: Registry, line: Line, name: str) -> Callable[..., Any]:
    async def plan() -> dict[str, Any]:
        try:
            found = registry.plan(name)
        except DefinitionError as error:
            raise ApplicationError(str(error), type=wire_type(error), non_retryable=True) from None
        unlimited = line.has_external_storage(activity.info())
        told = default_subscribers()
        return PlanFound(plan=found, external_storage=unlimited, notify=told).to_wire()

    return activity.defn(name=plan_activity(name))(plan)


def _child(line: Line, name: str) -> Callable[..., Any]:
    async def child(run_id: str, execution_id: str, patience: float) -> dict[str, Any]:
        """Return how a child run ended, or nothing where it still runs."""
        reach = line.reach(activity.info())
        try:
            async with asyncio.timeout(patience):
                ended = ChildEnd(returned=await reach.result(run_id, execution_id))
        except TimeoutError:
            return {}
        except WorkflowFailureError as failed:
            ended = ChildEnd.badly(run_id, failed.cause)
        except RunNotFound as gone:
            ended = ChildEnd.badly(run_id, gone)
        return ended.model_dump(mode="json")

    return activity.defn(name=child_activity(name))(child)


def _activity(registry: Registry, line: Line, name: str) -> Callable[..., Any]:
    if registry.served[name].agent is not None:
        return agent_activity(registry, line, name)

    # The function is looked up when it is called: a redefinition in the same process replaces it.
    def in_thread(data: dict[str, Any]) -> dict[str, Any]:
        with beating():
            call = line.complete_in_thread(ActivityCall.from_wire(data), activity.info())
            with _Execution(registry, name, call) as execution:
                done = execution.finish(execution.function(*execution.args, **execution.kwargs))
            return checked(done, call, line)

    async def on_loop(data: dict[str, Any]) -> dict[str, Any]:
        async with beating_on_loop():
            call = await line.complete(ActivityCall.from_wire(data), activity.info())
            with _Execution(registry, name, call) as execution:
                returned = await execution.function(*execution.args, **execution.kwargs)
                done = execution.finish(returned)
            return checked(done, call, line)

    return activity.defn(name=name)(
        on_loop if is_async(registry.served[name].function) else in_thread
    )


class _Execution:
    """One execution of an author's function: its arguments before, its result as data after."""

    def __init__(self, registry: Registry, name: str, call: ActivityCall) -> None:
        self._call = call
        self._served = served = registry.served[name]
        self.function = served.function
        self._state: dict[str, Any] = call.session_state
        self._changes = StateChanges(self._state)
        offered = _offered(call, self._state, served.choices)
        self.args, self.kwargs = _arguments(self.function, call, offered)

    def __enter__(self) -> _Execution:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, CancelledError):
            return
        # An executor that calls sys.exit() ends its step, not the worker.
        if isinstance(error, (Exception, SystemExit)):
            raise as_failure(error) from error

    def finish(self, returned: Any) -> dict[str, Any]:
        call = self._call
        output = _output(call, returned) if call.role == "executor" else None
        return ActivityResult(
            digest=self._served.digest,
            function=qualified_name(self.function),
            output=output,
            value=None if call.role == "executor" else _value(call, returned),
            **self._changes.told(call.path),
        ).to_wire()


def _offered(
    call: ActivityCall, state: dict[str, Any], choices: Sequence[Node]
) -> Mapping[str, Any]:
    info = activity.info()
    context = RunContext(
        run_id=info.workflow_id or "",
        path=call.path,
        session_id=call.session_id,
        user_id=call.user_id,
        attempt=info.attempt,
        session_state=state,
    )
    return {"session_state": state, "run_context": context, "step_choices": list(choices)}


def _arguments(
    function: Executor, call: ActivityCall, offered: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    given: list[Any] = [call.step_input]
    match call.role:
        case "end_condition":
            given = [call.outputs]
        case "output_review":
            given = call.outputs[:1]
        case "should_continue":
            given.append(call.step_input.iteration)
        case _:
            pass
    args: list[Any] = []
    named: dict[str, Any] = {}
    for each in inspect.signature(function).parameters.values():
        if each.kind is each.VAR_POSITIONAL:
            args, given = [*args, *given], []
        elif each.kind in (each.KEYWORD_ONLY, each.VAR_KEYWORD):
            named |= {name: value for name, value in offered.items() if name == each.name}
        elif each.name in offered:
            args.append(offered[each.name])
        elif given:
            args.append(given.pop(0))
    return args, named


def _output(call: ActivityCall, returned: Any) -> StepOutput:
    output = returned if isinstance(returned, StepOutput) else StepOutput(content=returned)
    content = as_json(output.content, call.path)
    return output.model_copy(update={"content": content, "step_name": call.name, "path": call.path})


def _value(call: ActivityCall, returned: Any) -> Any:
    if call.role != "selector":
        return bool(returned)
    several = isinstance(returned, (list, tuple))
    chosen = cast(list[Any], returned if several else [] if returned is None else [returned])
    return [each if isinstance(each, str) else getattr(each, "name", repr(each)) for each in chosen]
