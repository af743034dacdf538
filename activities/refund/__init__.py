"""Refund an order: look it up, and write the refund down, once per order.

Ordinary activities of the Temporal SDK, for `workflows.refund`, which is written by hand. Orders
come from a CSV file; the ledger of refunds is a folder with one file per order, so that two workers
that write at the same moment cannot both refund one order.
"""

from activities.refund.ledger import record_refund
from activities.refund.orders import find_order
from activities.refund.records import Entry, Order, Paid, Refund, RefundRequest

ACTIVITIES = [find_order, record_refund]
"""What a worker of the workflow needs."""

__all__ = [
    "ACTIVITIES",
    "Entry",
    "Order",
    "Paid",
    "Refund",
    "RefundRequest",
    "find_order",
    "record_refund",
]
