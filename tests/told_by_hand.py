"""A workflow written by hand whose gate tells subscribers; a module that the sandbox may import."""

from temporalio import workflow

from temporal_hitl import workflow as hitl


@workflow.defn
class Refund:
    """A workflow written by hand that ends with its gate's answer."""

    @workflow.init
    def __init__(self, amount: int) -> None:
        self.gate = hitl.Gate(notify=["managers"])

    @workflow.run
    async def run(self, amount: int) -> bool:
        small = await self.gate.confirm("Small?", name="small", notify=[])
        return small.approved or (await self.gate.confirm(f"Refund {amount}?", name="big")).approved


@workflow.defn
class Misspelled:
    """Tells a URL."""

    @workflow.init
    def __init__(self, given: None) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self, given: None) -> None:
        await self.gate.confirm("Go on?", notify=["slack://token-a/token-b"])
