"""The shop's database: a SQLite file, made with a few customers and orders where it is missing."""

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from activities.writing import write_once

VARIABLE = "SUPPORT_DESK_DB"
"""Names the file."""
DEFAULT = "support_desk/shop.db"
PATIENCE = 10.0
"""Seconds that a writer waits for another one."""

_TABLES = """
CREATE TABLE customers (id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL) STRICT;
CREATE TABLE orders (
    number TEXT PRIMARY KEY, customer TEXT NOT NULL, date TEXT NOT NULL, item TEXT NOT NULL,
    cents INTEGER NOT NULL, currency TEXT NOT NULL
) STRICT;
CREATE TABLE refunds (
    number TEXT PRIMARY KEY, cents INTEGER NOT NULL, paid_to TEXT NOT NULL, reason TEXT NOT NULL,
    key TEXT NOT NULL
) STRICT;
CREATE TABLE goodwill (
    key TEXT PRIMARY KEY, customer TEXT NOT NULL, cents INTEGER NOT NULL, cost_centre TEXT NOT NULL
) STRICT;
"""
_CUSTOMERS = (
    ("C-026", "Tomas Lind", "tomas.lind@example.org"),
    ("C-117", "Ines Moreau", "ines.moreau@example.org"),
    ("C-204", "Ana Sousa", "ana.sousa@example.org"),
    ("C-311", "Jiro Tanaka", "jiro.tanaka@example.org"),
)
_ORDERS = (
    ("1001", "C-204", "2026-10-02", "Garden shears", 2490, "EUR"),
    ("1002", "C-117", "2026-10-05", "Cordless drill", 12900, "EUR"),
    ("1003", "C-311", "2026-10-05", "Work gloves", 995, "EUR"),
    ("1004", "C-117", "2026-10-11", "Drill bits", 1840, "EUR"),
    ("1005", "C-026", "2026-10-14", "Wheelbarrow", 8950, "EUR"),
    ("1007", "C-204", "2026-10-23", "Lawn mower", 41900, "EUR"),
    ("1010", "C-311", "2026-11-07", "Hedge trimmer", 15800, "EUR"),
)


def database() -> Path:
    """Return where the database is, made if it is missing."""
    path = Path(os.environ.get(VARIABLE) or DEFAULT)
    if not path.exists():
        # Whole or not at all: another process may look for it at this moment.
        write_once(path, _first())
    return path


@contextmanager
def shop() -> Generator[sqlite3.Connection]:
    """Yield a connection in one transaction, which counts unless the block raises."""
    with closing(sqlite3.connect(database(), timeout=PATIENCE)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA synchronous = FULL")
        with connection:
            yield connection


def _first() -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_TABLES)
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?)", _CUSTOMERS)
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", _ORDERS)
        connection.commit()
        return connection.serialize()
