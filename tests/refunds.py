"""One workflow written by hand, as it was deployed and as it was edited while runs waited."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import VersioningBehavior

from temporal_hitl import ResolutionRecord
from temporal_hitl import workflow as hitl


@workflow.defn(name="Refund", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class Refund:
    """Asks once."""

    @workflow.init
    def __init__(self, amount: int) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self, amount: int) -> list[str]:
        answer = await self.gate.confirm(f"Refund {amount} EUR?", name="refund")
        return [answer.requirement_id]


@workflow.defn(name="Refund", versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class RefundEdited:
    """Asks before and after as well: whatever is new stands behind a patch of its own."""

    @workflow.init
    def __init__(self, amount: int) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self, amount: int) -> list[str]:
        answers: list[ResolutionRecord] = []
        if workflow.patched("ask for the receipt"):
            answers.append(await self.gate.confirm("Is there a receipt?", name="receipt"))
        answers.append(await self.gate.confirm(f"Refund {amount} EUR?", name="refund"))
        if workflow.patched("write to the customer"):
            answers.append(await self.gate.confirm("Write a letter?", name="letter"))
        return [each.requirement_id for each in answers]
