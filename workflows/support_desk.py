"""A support desk: an agent that reads orders, answers, and acts only as people allow.

Owns what the agent is told and which of its tools wait for whom; what they do is in
`activities.support_desk`. Run it with `make demo PIPELINE=support_desk`, or serve it from a worker:
`HitlPlugin(workflows=[support_desk])`. It thinks with the model that `HITL_MODEL` names
(`openai:gpt-4o-mini`, with `OPENAI_API_KEY`); without one a script answers, and says so.

Reading needs nobody. A refund and a deletion are approvals: only who signs as `approver` has them
done, as they stand or edited, and both wait until that is on file (docs/approvals.md). The cost
centre of a goodwill amount is filled in by a person, whoever that is, and no model ever sees it; as
money leaves the shop, that is on file too. What the desk does not know it asks the customer.

So a worker that serves it has `HITL_SIGNING_KEYS` and `HITL_APPROVALS_FILE`, and does not start
without; an embedded server has both by itself.
"""

import os
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Literal

from activities import support_desk as desk
from activities.support_desk.scripted import scripted_model
from temporal_hitl.agents import Agent, UserFeedbackTools, approval, tool
from temporal_hitl.turns import ToolCall

__all__ = ["support_desk"]

INSTRUCTIONS = """\
You are the support desk of a garden shop. Look up what you are asked about before you say anything
about it. Refund an order only where the customer wants that, and ask how it should be paid back.
Grant goodwill, or delete an account, only where the customer asks for it. What a person rejects
stays undone: tell the customer why. Amounts are in cents for your tools, and in EUR for people."""


@tool
def look_up_order(number: str) -> dict[str, Any]:
    """Look up an order by its number."""
    return asdict(desk.find_order(number))


@tool
def look_up_account(customer: str) -> dict[str, Any]:
    """Look up a customer's account, and their orders, by the customer's id (C-204)."""
    return asdict(desk.find_account(customer))


@approval
@tool(
    execution_message="Refund order {number} with {cents} cents to the customer's {paid_to}?",
    idempotent=True,
)
def refund_order(
    number: str,
    cents: int,
    paid_to: Literal["card", "voucher"],
    reason: str,
    run_context: ToolCall,
) -> str:
    """Refund an order, wholly or in part."""
    return desk.refund_order(number, cents, paid_to, reason, _key(run_context))


@approval(type="audit")
@tool(user_input_fields=["cost_centre"], idempotent=True)
def grant_goodwill(customer: str, cents: int, cost_centre: str, run_context: ToolCall) -> str:
    """Credit a customer with a goodwill amount."""
    return desk.grant_goodwill(customer, cents, cost_centre, _key(run_context))


@approval
@tool(execution_message="Delete the account of {customer} for good?")
def delete_account(customer: str, reason: str) -> str:
    """Delete a customer's account for good."""
    return desk.delete_account(customer)


def _key(call: ToolCall) -> str:
    """Return what is the same each time that one approved call is executed, and no other's."""
    return f"{call.run_id}/{call.path}"


support_desk = Agent(
    name="support_desk",
    model=None if os.environ.get("HITL_MODEL") else scripted_model(),
    instructions=INSTRUCTIONS,
    description="Answers customers; refunds and deletes as approvers allow",
    tools=[
        look_up_order,
        look_up_account,
        refund_order,
        grant_goodwill,
        delete_account,
        UserFeedbackTools(),
    ],
    usage_limits={"request_limit": 20},
    hitl_timeout=timedelta(days=3),
    on_timeout="skip",
)
