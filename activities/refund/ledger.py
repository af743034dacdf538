"""The ledger of refunds: a folder with one file per order, written once and never again."""

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.refund.records import Entry, Paid, Refund
from activities.writing import write_once

NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What an order's number must be to name a file."""


@activity.defn
def record_refund(ledger: str, refund: Refund) -> Paid:
    """Write the refund down unless the order has one, and return the entry that stands there.

    Executed again after a crash it finds its own entry, and says that it is new.
    """
    order = refund.order
    if not NUMBER.fullmatch(order.order):
        raise ApplicationError(
            f"{order.order!r} cannot name an entry of the ledger", non_retryable=True
        )
    run = activity.info().workflow_id or ""
    entry = Entry(
        order=order.order,
        customer=order.customer,
        cents=order.cents,
        currency=order.currency,
        reason=refund.reason,
        note=refund.note,
        agreed_by=refund.agreed_by,
        run=run,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    path = Path(ledger, f"{order.order}.json")
    write_once(path, (json.dumps(asdict(entry), indent=2, ensure_ascii=False) + "\n").encode())
    stands = Entry(**json.loads(path.read_text(encoding="utf-8")))
    return Paid(path=str(path), entry=stands, is_new=stands.run == run)
