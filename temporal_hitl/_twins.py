"""How the sync calls and their async twins reach the background loop, where all work is done.

The twins are one path: the sync call waits for the same coroutine.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, Generic, Self, TypeVar

from temporal_hitl._site import background
from temporal_hitl.requirements import Refusal

T = TypeVar("T")
E = TypeVar("E")


async def aside(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns, done on the background loop."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, background()))


def wait_for(twin: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Block until that is done; raises `RuntimeError` naming the `twin` where a loop runs."""
    if _in_a_loop() and not _in_a_notebook():
        raise RuntimeError(f"a sync call would block the running event loop; write `{twin}`")
    coroutine = work()
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, background())
    except BaseException:  # Ctrl-C may come at any line.
        coroutine.close()
        raise
    return _result(future)


def _result(future: Future[T]) -> T:
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_a_notebook() -> bool:
    # A kernel runs each plain cell inside its own loop, where blocking is what a sync cell does.
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


# Streams


class EventStream(Generic[E]):
    """An iterator of a run's events; to leave the loop early stops nothing but the looking on."""

    def __init__(self, events: AsyncGenerator[E], refused: Sequence[Refusal] = ()) -> None:
        self.refused = list(refused)
        """The decisions that were refused, where others were accepted."""
        self._pulled = _pulled(events)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> E:
        return next(self._pulled)

    def close(self) -> None:
        """Look on no longer."""
        self._pulled.close()


class AsyncEventStream(Generic[E]):
    """An async iterator of a run's events; to leave the loop early stops nothing but the looking
    on.
    """

    def __init__(
        self,
        events: AsyncGenerator[E] | Coroutine[Any, Any, AsyncGenerator[E]],
        refused: Sequence[Refusal] = (),
    ) -> None:
        self.refused = list(refused)
        """The decisions that were refused, where others were accepted."""
        if isinstance(events, Coroutine):
            # A run starts at once, as with the sync call, however late this is iterated.
            events = _later(asyncio.run_coroutine_threadsafe(events, background()))
        self._pulled = _pulled_async(events)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        return await anext(self._pulled)

    async def aclose(self) -> None:
        """Look on no longer."""
        await self._pulled.aclose()


def _pulled(events: AsyncGenerator[E]) -> Generator[E]:
    try:
        while (event := _result(_next(events))) is not None:
            yield event
    finally:
        _close(events)


async def _later(begun: Future[AsyncGenerator[E]]) -> AsyncGenerator[E]:
    async with aclosing(await asyncio.wrap_future(begun)) as events:
        async for event in events:
            yield event


async def _pulled_async(events: AsyncGenerator[E]) -> AsyncGenerator[E]:
    try:
        while (event := await asyncio.wrap_future(_next(events))) is not None:
            yield event
    finally:
        _close(events)


def _next(events: AsyncGenerator[E]) -> Future[E | None]:
    async def pull() -> E | None:
        return await anext(events, None)

    return asyncio.run_coroutine_threadsafe(pull(), background())


def _close(events: AsyncGenerator[Any]) -> None:
    # Not waited for: garbage collection may come here on any thread, the background loop's too.
    asyncio.run_coroutine_threadsafe(events.aclose(), background())
