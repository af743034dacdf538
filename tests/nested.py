"""What the tests of child runs share: a child that asks once, and the answer to it."""

from __future__ import annotations

from temporal_hitl import Confirm, HitlClient, Step, StepInput, Workflow


def fetch(step_input: StepInput) -> str:
    return f"{step_input.input} fetched"


def process(step_input: StepInput) -> str:
    return f"{step_input.previous_step_content or step_input.input} processed"


def gated(name: str = "process") -> Step:
    return Step(name, process, requires_confirmation=True)


def child(name: str = "child") -> Workflow:
    """A pipeline of one step, which asks before it runs."""
    return Workflow(name, [gated()])


async def confirm(client: HitlClient, run: str, key: str = "process") -> None:
    await client.resolve(run, Confirm(requirement_id=key))
