"""Waits for several tasks of a run at once, in a way that replays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


async def together(tasks: Sequence[asyncio.Task[T]]) -> list[T]:
    """Return what all tasks return; where one raises, end the others first, then raise it."""
    try:
        return await asyncio.gather(*tasks)
    except (Exception, asyncio.CancelledError):
        # In list order: a set of tasks, as in asyncio.TaskGroup, is cancelled in another order on
        # replay. Not in a `finally`, which may not wait when it is run by garbage collection.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
