"""Runs an agent's turns and tools as activities, through its adapter.

Owns the heartbeat of a turn, which carries its checkpoint: a turn whose worker died goes on from
there. Knows no agent framework.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError

from temporal_hitl._beats import beating_on_loop
from temporal_hitl._caller import NO_SUCH_ACTIVITY
from temporal_hitl._calls import INVALID_ARGUMENTS, OUTCOME_UNKNOWN, ActivityCall, ActivityResult
from temporal_hitl._flow import StepInput
from temporal_hitl._line import Line
from temporal_hitl._registry import Registry
from temporal_hitl._returning import StateChanges, as_failure, as_json, checked
from temporal_hitl._sizes import TOO_LARGE, size_of
from temporal_hitl.turns import (
    Adapter,
    CheckpointTooLarge,
    InvalidArguments,
    NotServed,
    OutcomeUnknown,
    ToolCall,
    Turn,
)


def agent_activity(registry: Registry, line: Line, name: str) -> Callable[..., Any]:
    """Return the activity of the type `name`: an agent's turn, or one of its tools."""

    async def work(data: dict[str, Any]) -> dict[str, Any]:
        # Beats first: what comes next may wait for the run's worker, which may have died too.
        pulse = _Pulse()
        async with beating_on_loop(pulse.beat):
            call = await line.complete(ActivityCall.from_wire(data), activity.info())
            served = registry.served[name]
            assert served.agent is not None, "an agent's activity has one"
            changes = StateChanges(call.session_state)
            pulse.go_on(changes, call)
            value = await _guarded(_worked(served.agent, call, pulse))
            done = ActivityResult(
                digest=served.digest,
                function=served.agent.name,
                value=as_json(value, call.path),
                **changes.told(call.path),
            )
            return checked(done.to_wire(), call, line)

    return activity.defn(name=name)(work)


async def _worked(agent: Adapter, call: ActivityCall, pulse: _Pulse) -> Any:
    if call.tool is not None:
        fed = await agent.call(_tool_call(call))
        return fed.model_dump(mode="json")
    turn = _turn(call, pulse)
    taken = await agent.turn(turn)
    # What the run has already is not told again, whatever an adapter gives.
    keep, new = turn.beyond([*call.messages[: taken.keep], *taken.new])
    return taken.model_copy(update={"keep": keep, "new": new}).model_dump(mode="json")


async def _guarded(work: Any) -> Any:
    try:
        return await work
    except CancelledError:
        raise
    except InvalidArguments as error:
        # Benign: a person is asked again, and no log needs a traceback.
        raise ApplicationError(
            str(error),
            *error.problems,
            type=INVALID_ARGUMENTS,
            non_retryable=True,
            category=ApplicationErrorCategory.BENIGN,
        ) from error
    except NotServed as error:
        activity.logger.warning(str(error))
        raise ApplicationError(str(error), type=NO_SUCH_ACTIVITY, non_retryable=True) from error
    except OutcomeUnknown as error:
        # Tried again where that does no harm: a call has one attempt elsewhere.
        raise ApplicationError(str(error), type=OUTCOME_UNKNOWN) from error
    except CheckpointTooLarge as error:
        raise ApplicationError(str(error), type=TOO_LARGE, non_retryable=True) from error
    except (Exception, SystemExit) as error:
        raise as_failure(error) from error


def _in_run(call: ActivityCall) -> dict[str, Any]:
    info = activity.info()
    return {
        "run_id": info.workflow_id or "",
        "path": call.path,
        "session_id": call.session_id,
        "user_id": call.user_id,
        "attempt": info.attempt,
        "session_state": call.session_state,
        "additional_data": call.step_input.additional_data,
    }


def _tool_call(call: ActivityCall) -> ToolCall:
    given = call.tool
    assert given is not None, "a tool's call has one"
    return ToolCall(
        **_in_run(call), tool=given.tool, call_id=given.call_id, arguments=given.arguments
    )


def _turn(call: ActivityCall, pulse: _Pulse) -> Turn:
    given = call.turn
    assert given is not None, "a turn's call has one"
    first = given.number == 1
    task = prompt_of(call.step_input) if given.task is None else given.task
    return Turn(
        **_in_run(call),
        number=given.number,
        prompt=task if first else None,
        answers=call.answers,
        messages=call.messages,
        usage=given.usage,
        counted=given.counted,
        made_by=given.made_by,
        guarded=frozenset(given.guarded),
        conditional=frozenset(given.conditional),
        checkpoint=pulse.checkpoint,
        save=pulse.save,
        stops=activity.is_worker_shutdown,
        is_last=_is_last(),
    )


def _is_last() -> bool:
    info = activity.info()
    most = 0 if info.retry_policy is None else info.retry_policy.maximum_attempts
    return 0 < most <= info.attempt


class _Pulse:
    """The heartbeat of one execution, which always carries the last checkpoint."""

    def __init__(self) -> None:
        details = activity.info().heartbeat_details
        self._last: dict[str, Any] | None = details[0] if details else None
        self._changes = StateChanges({})
        self._path = ""

    @property
    def checkpoint(self) -> Any:
        """What an adapter saved last."""
        return None if self._last is None else self._last["checkpoint"]

    def go_on(self, changes: StateChanges, call: ActivityCall) -> None:
        """Go on with the session state as it was at the last checkpoint.

        What a tool did is remembered there, and so must be what it changed.
        """
        self._changes, self._path = changes, call.path
        saved = self._last or {}
        call.session_state.update(saved.get("state_changes", {}))
        for key in saved.get("state_removed", ()):
            call.session_state.pop(key, None)

    def save(self, checkpoint: Any) -> None:
        data = {"checkpoint": checkpoint, **self._changes.told(self._path)}
        # Refused here, where the step is known: the server would fail the execution.
        if (size := size_of(data)) > CHECKPOINT:
            raise CheckpointTooLarge(
                f"a checkpoint of {size:,} bytes; there is room for {CHECKPOINT:,}"
            )
        self._last = data
        self.beat()

    def beat(self) -> None:
        # An empty heartbeat would erase what was saved.
        activity.heartbeat(*([] if self._last is None else [self._last]))


CHECKPOINT = 1_900_000
"""Bytes of JSON that a checkpoint may have."""


def prompt_of(given: StepInput) -> str:
    """Return what an agent as a step is to do: what came before, or the run's input, and what
    people said for this step, in the order of the seeds' system.
    """
    before, said = given.previous_step_content, given.additional_data
    parts = [_text(given.input if before is None else before)]
    if wishes := said.get("user_input"):
        parts.append("What the user asked for:\n" + _listed(wishes))
    if said.get("previous_output") is not None:
        parts.append(f"Your previous output:\n{_text(said['previous_output'])}")
    if said.get("rejection_feedback"):
        parts.append(f"The reviewer rejected it:\n{said['rejection_feedback']}")
    return "\n\n".join(part for part in parts if part)


def _listed(values: Any) -> str:
    if not isinstance(values, dict):
        return _text(values)
    return "\n".join(f"- {name}: {_text(each)}" for name, each in cast(Any, values).items())


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
