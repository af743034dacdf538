"""Refund an order: a workflow written by hand, in which people decide through a gate.

No pipeline is needed to have people in a workflow: a `Gate` asks and waits, everything else is
Temporal as it is. The activities are in `activities.refund`. Serve it from a worker:

    Worker(client, task_queue="refunds", workflows=[Refund], activities=ACTIVITIES,
           activity_executor=ThreadPoolExecutor(), plugins=[HitlPlugin()])
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.refund import Order, Paid, RefundRequest, find_order, record_refund
    from activities.refund import Refund as Agreed
    from temporal_hitl import ResolutionRecord, UserInputField
    from temporal_hitl import workflow as hitl

__all__ = ["LIMIT", "Outcome", "Refund"]

LIMIT = 100_00
"""Cents up to which the reason is enough; above, somebody must agree."""
PATIENCE = timedelta(days=3)
"""How long somebody may take to agree; then the money stays."""
REASONS = ("damaged", "late", "withdrawn", "other")
FORM = [
    UserInputField("reason", description="why", allowed_values=REASONS),
    UserInputField("note", description="what else the books should say", required=False),
]
ONE_CALL = timedelta(seconds=30)


@dataclass(frozen=True)
class Outcome:
    """How it ended; `path` is the order's entry in the ledger, where it has one."""

    status: Literal["refunded", "refunded before", "kept"]
    order: str
    amount: str
    why: str
    path: str | None = None


@workflow.defn(name="refund")
class Refund:
    """Asks why, asks for agreement where much money is at stake, and writes the refund down."""

    @workflow.init
    def __init__(self, request: RefundRequest) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self, request: RefundRequest) -> Outcome:
        """Refund the order of `request`, unless people say no or it was refunded before."""
        try:
            order = await workflow.execute_activity(
                find_order, args=[request.orders, request.order], start_to_close_timeout=ONE_CALL
            )
        except ActivityError as failed:
            if not isinstance(failed.cause, ApplicationError):
                raise  # Cancelled, say.
            return Outcome("kept", request.order, "nothing", failed.cause.message)
        asked = await self.gate.user_input(
            f"Why is order {order.order} ({order.item}, {told(order)}) refunded?",
            FORM,
            name="reason",
        )
        if not asked.approved:
            return outcome("kept", order, asked.told())
        agreed = await self.agreement(order, asked)
        if not agreed.approved:
            return outcome("kept", order, agreed.told())
        paid = await workflow.execute_activity(
            record_refund,
            args=[request.ledger, entry(order, asked, agreed)],
            start_to_close_timeout=ONE_CALL,
        )
        why = f"{paid.entry.reason}, agreed by {paid.entry.agreed_by}"
        return outcome("refunded" if paid.is_new else "refunded before", order, why, paid)

    async def agreement(self, order: Order, asked: ResolutionRecord) -> ResolutionRecord:
        """Return who agrees: whoever gave the reason, or for much money somebody asked for it."""
        if order.cents <= LIMIT:
            return asked
        return await self.gate.confirm(
            f"Refund {told(order)} for order {order.order} ({asked.values['reason']})?",
            name="agree",
            timeout=PATIENCE,
            on_timeout="cancel",
        )


def entry(order: Order, asked: ResolutionRecord, agreed: ResolutionRecord) -> Agreed:
    """Return what is to be written down."""
    return Agreed(
        order=order,
        reason=str(asked.values["reason"]),
        note=str(asked.values.get("note") or ""),
        agreed_by=agreed.resolved_by or "somebody who gave no name",
    )


def outcome(
    status: Literal["refunded", "refunded before", "kept"],
    order: Order,
    why: str,
    paid: Paid | None = None,
) -> Outcome:
    """Return how the run ended."""
    path = None if paid is None else paid.path
    return Outcome(status=status, order=order.order, amount=told(order), why=why, path=path)


def told(order: Order) -> str:
    """Return the amount as people write it: `129.00 EUR`."""
    return f"{order.cents // 100}.{order.cents % 100:02} {order.currency}"
