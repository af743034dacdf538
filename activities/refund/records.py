"""What travels between the workflow and its activities; amounts are whole cents."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RefundRequest:
    """What a run is asked for: which order, and where orders and refunds are kept."""

    order: str
    orders: str = "activities/data/orders.csv"
    ledger: str = "refunds"


@dataclass(frozen=True)
class Order:
    """One order as the shop has it."""

    order: str
    customer: str
    date: str
    item: str
    cents: int
    currency: str


@dataclass(frozen=True)
class Refund:
    """What is to be written down: how much, why, and who agreed."""

    order: Order
    reason: str
    note: str
    agreed_by: str


@dataclass(frozen=True)
class Entry:
    """One refund in the ledger; `run` is the run that made it."""

    order: str
    customer: str
    cents: int
    currency: str
    reason: str
    note: str
    agreed_by: str
    run: str
    at: str


@dataclass(frozen=True)
class Paid:
    """The entry of an order, where it lies, and whether it is this run's or was there before."""

    path: str
    entry: Entry
    is_new: bool
