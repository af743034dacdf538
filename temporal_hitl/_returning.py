"""How what an author's function returns, or raises, crosses Temporal.

Owns what counts as data, how large it may be, and under which names failures cross.
"""

from __future__ import annotations

import inspect
import json
from datetime import timedelta
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic_core import PydanticSerializationError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from temporal_hitl._calls import ActivityCall
from temporal_hitl._line import Line
from temporal_hitl._sizes import LIMIT, TOO_LARGE, size_of
from temporal_hitl.errors import HitlError

LONGEST_WAIT = timedelta(days=1)
"""How long a failed attempt's `retry_after` may have the next one wait."""
_JSON: TypeAdapter[Any] = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))


class StateChanges:
    """What a function changes of the session state that it is given."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state
        self._before = {key: _frozen(value) for key, value in state.items()}

    def told(self, where: str) -> dict[str, Any]:
        """Return the fields of an `ActivityResult` that say it."""
        changed = {
            key: value
            for key, value in self._state.items()
            if self._before.get(key) != _frozen(value)
        }
        return {
            "state_changes": as_json(changed, f"{where}: session_state"),
            "state_removed": [key for key in self._before if key not in self._state],
        }


def _frozen(value: Any) -> str:
    return _JSON.dump_json(value, fallback=repr).decode()


def checked(done: dict[str, Any], call: ActivityCall, line: Line) -> dict[str, Any]:
    size = size_of(done)
    if size <= LIMIT or line.has_external_storage(activity.info()):
        return done
    raise ApplicationError(
        f"{call.path} returned {size:,} bytes, its changes of the session state included, and"
        f" Temporal takes {LIMIT:,}: return a reference (a path, a key), or give the client a data"
        " converter with external_storage=ExternalStorage(drivers=[...])",
        {"attempt": activity.info().attempt},
        type=TOO_LARGE,
        non_retryable=True,
    )


def as_json(value: Any, where: str) -> Any:
    if inspect.iscoroutine(value):
        value.close()
        raise _not_json(f"{where} returned a coroutine, which nobody awaits; write `async def`")
    try:
        data = _JSON.dump_python(value, mode="json")
        # What the converter would refuse or change later is refused here, where the step is known.
        json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise _not_json(
            f"{where} returned what JSON cannot hold ({error}); return text, finite numbers, lists,"
            " dicts, dataclasses or Pydantic models"
        ) from None
    return data


def _not_json(message: str) -> ApplicationError:
    return ApplicationError(message, type="temporal_hitl.NotJson", non_retryable=True)


def as_failure(error: BaseException) -> ApplicationError:
    info = activity.info()
    listed = (info.retry_policy and info.retry_policy.non_retryable_error_types) or ()
    attempt = {"attempt": info.attempt}
    if isinstance(error, ApplicationError):
        kind = error.type or "temporalio.exceptions.ApplicationError"
        return ApplicationError(
            error.message,
            attempt,
            *error.details,
            # Never a bare name: `NotFoundError` can then only be the SDK's "no such activity".
            type=kind if "." in kind else f"application.{kind}",
            non_retryable=error.non_retryable or kind in listed,
            next_retry_delay=error.next_retry_delay,
            category=error.category,
        )
    bare = type(error).__qualname__
    kind = f"{type(error).__module__}.{bare}"
    final = isinstance(error, HitlError) or bare in listed or kind in listed
    return ApplicationError(
        str(error), attempt, type=kind, non_retryable=final, next_retry_delay=_wait_of(error)
    )


def _wait_of(error: BaseException) -> timedelta | None:
    # A provider that is asked again before that counts it against its caller.
    seconds: Any = getattr(error, "retry_after", None)
    if isinstance(seconds, int | float) and 0 < seconds <= LONGEST_WAIT.total_seconds():
        return timedelta(seconds=seconds)
    return None
