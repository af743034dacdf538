"""Orders, as a shop's export has them: a CSV file with one line each."""

import csv
import re
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.refund.records import Order

COLUMNS = ("order", "customer", "date", "item", "amount", "currency")
AMOUNT = re.compile(r"\d+(?:\.\d\d)?")


@activity.defn
def find_order(orders: str, number: str) -> Order:
    """Return the order of that number; one that is not there, or cannot be read, ends the run."""
    try:
        with Path(orders).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        _refuse("NoOrders", f"no file at {orders!r} that this worker can read")
    found = [row for row in rows if row.get("order") == number]
    if len(found) != 1:
        told = ", ".join(str(row.get("order")) for row in rows[:20])
        _refuse("NoSuchOrder", f"{len(found)} orders have the number {number!r}; there are {told}")
    row = found[0]
    missing = [name for name in COLUMNS if not row.get(name)]
    if missing or not AMOUNT.fullmatch(row["amount"]):
        wrong = ", ".join(missing) or "amount"
        _refuse("UnreadableOrder", f"order {number!r} cannot be read: look at its {wrong}")
    return Order(
        order=row["order"],
        customer=row["customer"],
        date=row["date"],
        item=row["item"],
        cents=int(Decimal(row["amount"]) * 100),
        currency=row["currency"],
    )


def _refuse(kind: str, message: str) -> NoReturn:
    raise ApplicationError(message, type=kind, non_retryable=True)
