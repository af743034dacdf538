"""A plain function in the place of an agent: what it is answered is what it asked."""

from __future__ import annotations

from typing import Any

from temporalio.testing import WorkflowEnvironment

from temporal_hitl import OnError, RunStatus, Step, Workflow
from temporal_hitl.agents import Ask, AskingFunction
from tests.stage import ended, paused, replays, serving

FORMS: dict[str, list[Any]] = {
    "amount": [{"name": "cents", "field_type": "int"}],
    "limit": [{"name": "most", "field_type": "int"}],
}
NOW: dict[str, Any] = {}


def pay(cents: int) -> str:
    return f"paid {cents}"


async def payout(ask: Ask, prompt: str) -> str:
    said = {key: await ask.question(NOW["message"], FORMS[key]) for key in NOW["order"]}
    return await ask.call("pay", cents=said["amount"]["cents"] + NOW["more"])


def pipeline(name: str) -> Workflow:
    asking = AskingFunction(payout, {"pay": pay})
    return Workflow(name, [Step("payout", agent=asking, on_error=OnError.fail)])


async def answered(env: WorkflowEnvironment, definition: Workflow, then: dict[str, Any]) -> Any:
    """Answer all that a run asks, with the code as `then` says once the amount has been told."""
    NOW.update(order=["amount", "limit"], message="How much?", more=0)
    async with serving(env, definition) as client:
        run = await client.start(definition, "in")
        for key, values in (("1.question", {"cents": 5}), ("2.question", {"most": 9})):
            asked = await paused(client, run)
            assert [f"payout.{key}"] == [each.id for each in asked.requirements]
            NOW.update(then)
            answer = {"requirement_id": f"payout.{key}", "action": "answer", "values": values}
            await client.resolve(run, answer)
            if "order" in then:
                break
        else:
            (asked,) = (await paused(client, run)).requirements
            NOW.update(more=1)
            await client.resolve(run, {"requirement_id": asked.id, "action": "confirm"})
        output = await ended(client, run)
        await replays(client.handle(run), definition)
        return output


async def test_other_words(env: WorkflowEnvironment) -> None:
    """A deploy that words a question anew, or would pay another amount, changes nothing that was
    answered.
    """
    output = await answered(env, pipeline("asks_anew"), {"message": "How many cents?"})

    assert (RunStatus.completed, "paid 5") == (output.status, output.content)


async def test_another_order(env: WorkflowEnvironment) -> None:
    """A function that asks in another order than before is never given one question's answer as
    that to another: the step fails, and says which.
    """
    output = await answered(env, pipeline("asks_askew"), {"order": ["limit", "amount"]})

    assert RunStatus.error is output.status
    assert "asks 'question most' where it had asked 'question cents'" in str(output.error)
