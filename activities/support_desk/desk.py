"""What can be done at the desk; each function is one transaction of the shop's database."""

from dataclasses import dataclass

from activities.support_desk.shop import shop


@dataclass(frozen=True)
class Order:
    """An order as the shop knows it."""

    number: str
    customer: str
    date: str
    item: str
    cents: int
    currency: str
    refunded_cents: int


@dataclass(frozen=True)
class Account:
    """A customer's account, and the numbers of their orders."""

    customer: str
    name: str
    email: str
    orders: list[str]


def find_order(number: str) -> Order:
    """Return an order by its number."""
    with shop() as connection:
        row = connection.execute(
            "SELECT orders.*, COALESCE(refunds.cents, 0) AS refunded_cents"
            " FROM orders LEFT JOIN refunds USING (number) WHERE number = ?",
            [number],
        ).fetchone()
    if row is None:
        raise LookupError(f"there is no order {number!r}")
    return Order(**dict(row))


def find_account(customer: str) -> Account:
    """Return a customer's account by its id."""
    with shop() as connection:
        row = connection.execute("SELECT * FROM customers WHERE id = ?", [customer]).fetchone()
        orders = connection.execute(
            "SELECT number FROM orders WHERE customer = ? ORDER BY number", [customer]
        ).fetchall()
    if row is None:
        raise LookupError(f"there is no account {customer!r}")
    return Account(
        customer=row["id"],
        name=row["name"],
        email=row["email"],
        orders=[each["number"] for each in orders],
    )


def refund_order(number: str, cents: int, paid_to: str, reason: str, key: str) -> str:
    """Refund an order, which may be done once; executed again under one key it says the same."""
    order = find_order(number)
    if not 0 < cents <= order.cents:
        raise ValueError(f"order {number} cost {told(order.cents)}, not {told(cents)}")
    with shop() as connection:
        connection.execute(
            "INSERT INTO refunds VALUES (?, ?, ?, ?, ?) ON CONFLICT (number) DO NOTHING",
            [number, cents, paid_to, reason, key],
        )
        stands = connection.execute("SELECT * FROM refunds WHERE number = ?", [number]).fetchone()
    if stands["key"] != key:
        raise ValueError(f"order {number} was refunded before: {told(stands['cents'])}")
    return f"refunded {told(stands['cents'])} for order {number} to {stands['paid_to']}"


def grant_goodwill(customer: str, cents: int, cost_centre: str, key: str) -> str:
    """Credit a customer with an amount, once per key."""
    find_account(customer)
    if cents <= 0:
        raise ValueError(f"{told(cents)} is no amount of goodwill")
    with shop() as connection:
        connection.execute(
            "INSERT INTO goodwill VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
            [key, customer, cents, cost_centre],
        )
    return f"credited {customer} with {told(cents)}"


def delete_account(customer: str) -> str:
    """Delete a customer's account for good. Executed again it fails, as it is gone."""
    with shop() as connection:
        gone = connection.execute("DELETE FROM customers WHERE id = ?", [customer]).rowcount
    if not gone:
        raise LookupError(f"there is no account {customer!r}")
    return f"deleted the account {customer}"


def told(cents: int) -> str:
    """Return an amount as people write it: `129.00 EUR`."""
    return f"{cents // 100}.{cents % 100:02} EUR"
