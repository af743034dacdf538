"""What a support desk does: look orders up, refund them, grant goodwill, delete accounts.

Plain functions over a small real database. `scripted` stands in for a language model where none is
configured.
"""

from activities.support_desk.desk import (
    Account,
    Order,
    delete_account,
    find_account,
    find_order,
    grant_goodwill,
    refund_order,
)
from activities.support_desk.shop import database

__all__ = [
    "Account",
    "Order",
    "database",
    "delete_account",
    "find_account",
    "find_order",
    "grant_goodwill",
    "refund_order",
]
