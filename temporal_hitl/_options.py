"""How the functions of a node are executed: Temporal's activity options, as authors write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from temporalio.common import RetryPolicy

from temporal_hitl._arguments import Seconds, as_seconds, text, whole
from temporal_hitl.errors import DefinitionError


class ActivityOptions(TypedDict, total=False):
    """How the functions of a node are executed, as keywords; durations in seconds or timedeltas."""

    max_retries: int
    """Executions after the first, where that failed; 3 unless said otherwise, 0 for none."""
    retry_policy: RetryPolicy
    """The same in Temporal's words; instead of `max_retries`."""
    start_to_close_timeout: Seconds
    """How long one execution may take; a day unless said otherwise."""
    schedule_to_close_timeout: Seconds
    """How long all executions and the time between them may take."""
    heartbeat_timeout: Seconds
    """After how much silence an execution counts as dead, where the function heartbeats itself."""
    task_queue: str
    """Whose workers execute it; the run's own queue unless said otherwise."""


@dataclass(frozen=True)
class CallOptions:
    """`ActivityOptions`, checked; durations in seconds."""

    max_retries: int
    retry_policy: RetryPolicy | None
    start_to_close: float | None
    schedule_to_close: float | None
    heartbeat: float | None
    task_queue: str | None

    @classmethod
    def of(cls, where: str, options: ActivityOptions) -> CallOptions:
        """Return the options checked, or raise a `DefinitionError` naming what is wrong."""
        given = dict[str, Any](options)
        unknown = sorted(given.keys() - ActivityOptions.__annotations__.keys())
        if unknown:
            raise TypeError(f"{where}: unexpected keyword argument {unknown[0]!r}")
        spans = ("start_to_close", "schedule_to_close", "heartbeat")
        policy = given.get("retry_policy")
        if policy is not None and "max_retries" in given:
            raise DefinitionError(f"{where}: give max_retries or retry_policy, not both")
        if policy is not None and not isinstance(policy, RetryPolicy):
            raise DefinitionError(f"{where}: retry_policy={policy!r} is no RetryPolicy")
        queue = given.get("task_queue")
        return cls(
            max_retries=whole(given.get("max_retries", 3), 0, f"{where}: max_retries"),
            retry_policy=policy,
            task_queue=None if queue is None else text(queue, f"{where}: task_queue"),
            **{
                key: as_seconds(given.get(f"{key}_timeout"), f"{where}: {key}_timeout")
                for key in spans
            },
        )
