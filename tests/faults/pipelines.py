"""The pipelines of a campaign, and what of each must have been run and asked at its end."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.common import RetryPolicy

from temporal_hitl import (
    ActivityOptions,
    Condition,
    Loop,
    Parallel,
    Router,
    Step,
    StepInput,
    StepOutput,
    Steps,
    Workflow,
)
from tests.faults.journal import Journal

SILENCE = timedelta(seconds=2)
"""After how much silence a function is called again."""
HURRY = timedelta(seconds=1.5)
"""How long a person has where there is a deadline."""
SLOW = 1.0
"""Seconds that a slow step takes."""
FAR = "x" * 5_000
"""What makes an output too large to travel with the calls that come after it."""

KILLED: ActivityOptions = {
    # Dead workers are no fault of a function's: as many attempts as it takes.
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=0.2), backoff_coefficient=1.0),
    "heartbeat_timeout": SILENCE,
}


@dataclass(frozen=True)
class Pipeline:
    """A pipeline, the activities of it that always run, and the steps that a person decides on."""

    definition: Workflow
    always: Collection[str]
    gates: Collection[str]


def pipelines(ledger: Path) -> dict[str, Pipeline]:
    """Return the mix, by name; every function writes to `ledger`."""
    tree = _Tree(Journal(ledger))
    made = (tree.chain, tree.branches, tree.rounds, tree.choices, tree.deadlines, tree.meanwhile)
    return {each.__name__: each(each.__name__) for each in made}


class _Tree:
    def __init__(self, ledger: Journal) -> None:
        self._ledger = ledger

    def chain(self, name: str) -> Pipeline:
        steps = [
            self._step("load", content=FAR),
            self._gate("check"),
            self._step("work", SLOW),
            self._gate("publish"),
        ]
        return Pipeline(Workflow(name, steps), {"load", "work"}, {"check", "publish"})

    def branches(self, name: str) -> Pipeline:
        right = Steps("right", steps=[self._step("prepare"), self._gate("approve", SLOW)])
        both = Parallel(self._gate("left"), right, self._async_step("middle"), name="both")
        return Pipeline(
            Workflow(name, [both, self._step("join")]),
            {"both.right.prepare", "both.middle", "join"},
            {"both.left", "both.right.approve"},
        )

    def rounds(self, name: str) -> Pipeline:
        body = [self._step("draft"), self._gate("accept")]
        never = self._function(False)
        loop = Loop(body, name="refine", max_iterations=4, end_condition=never, **KILLED)
        return Pipeline(
            Workflow(name, [loop, self._step("last")]),
            {f"refine.{n}.draft" for n in range(1, 5)}
            | {f"refine.{n}.end_condition" for n in range(1, 4)}
            | {"last"},
            {f"refine.{n}.accept" for n in range(1, 5)},
        )

    def choices(self, name: str) -> Pipeline:
        large, small = [self._gate("audit"), self._step("tidy")], [self._step("never")]
        condition = Condition(large, self._function(True), small, name="is_large", **KILLED)
        ways = [self._gate("letter"), self._step("mail", SLOW), self._step("fax")]
        router = Router(ways, self._function(["mail", "letter"]), name="send", **KILLED)
        return Pipeline(
            Workflow(name, [condition, router]),
            {"is_large.evaluator", "is_large.tidy", "send.selector", "send.mail"},
            {"is_large.audit", "send.letter"},
        )

    def deadlines(self, name: str) -> Pipeline:
        steps = [
            self._gate("skipped", hitl_timeout=HURRY, on_timeout="skip"),
            self._gate("approved", hitl_timeout=HURRY, on_timeout="approve"),
            self._gate("strict", hitl_timeout=HURRY, on_timeout="skip", strict_deadline=True),
            self._step("last"),
        ]
        return Pipeline(Workflow(name, steps), {"last"}, {"skipped", "approved", "strict"})

    def meanwhile(self, name: str) -> Pipeline:
        """Continues as new again and again, also while a requirement is open beside the loop."""
        body = [self._step("tick"), self._async_step("tock")]
        loop = Loop(body, name="clock", max_iterations=9)
        both = Parallel(self._gate("beside"), loop, name="both")
        ticks = {f"both.clock.{n}.{each}" for n in range(1, 10) for each in ("tick", "tock")}
        return Pipeline(
            Workflow(name, [both, self._gate("after")]), ticks, {"both.beside", "after"}
        )

    # The functions

    def _gate(self, name: str, seconds: float = 0.0, **options: Any) -> Step:
        return self._step(name, seconds, requires_confirmation=True, **options)

    def _step(self, name: str, seconds: float = 0.0, content: str = "", **options: Any) -> Step:
        def execute(step_input: StepInput, session_state: dict[str, Any]) -> dict[str, Any]:
            with _Recorded(self._ledger) as token:
                for _ in range(round(seconds / 0.1)):
                    time.sleep(0.1)
                    activity.heartbeat()
                session_state[name] = session_state.get(name, 0) + 1
            return {"token": token, "saw": _seen(step_input), "content": content}

        return Step(name, execute, on_error="fail", **KILLED, **options)

    def _async_step(self, name: str) -> Step:
        async def execute(step_input: StepInput, session_state: dict[str, Any]) -> dict[str, Any]:
            with _Recorded(self._ledger) as token:
                await asyncio.sleep(0.1)
                session_state[name] = session_state.get(name, 0) + 1
            return {"token": token, "saw": _seen(step_input)}

        return Step(name, execute, on_error="fail", **KILLED)

    def _function(self, answer: Any) -> Callable[[Any], Any]:
        def choose(given: Any) -> Any:
            with _Recorded(self._ledger):
                return answer

        return choose


class _Recorded:
    """Writes down that an execution starts, under a token of its own, and that it has ended."""

    def __init__(self, ledger: Journal) -> None:
        self._ledger = ledger
        info = activity.info()
        self._place = {
            "run": info.workflow_id,
            "execution": info.workflow_run_id,
            "activity": info.activity_id,
            "attempt": info.attempt,
            "token": uuid.uuid4().hex[:12],
            "worker": os.getpid(),
        }

    def __enter__(self) -> str:
        self._ledger.write(mark="start", **self._place)
        return str(self._place["token"])

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self._ledger.write(mark="end", **self._place)


def _seen(step_input: StepInput) -> list[str]:
    return tokens(step_input.previous_step_outputs.values())


def tokens(outputs: Collection[StepOutput]) -> list[str]:
    """Return the tokens in the contents of steps, those inside containers too."""
    every = [each for output in outputs for each in output.walk()]
    return [each.content["token"] for each in every if each.step_type == "Step"]
