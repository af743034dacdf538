"""How a running activity tells that it lives, and hears that it is cancelled.

A worker that dies is noticed by its silence. Steps with a heartbeat of their own are left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import timedelta

from temporalio import activity

from temporal_hitl.plan import LIVENESS

BEAT = timedelta(seconds=3)
"""How often; thrice within a shorter timeout."""
_log = logging.getLogger(__name__)


def beating() -> contextlib.AbstractContextManager[None]:
    """Have a sync step beat while the block runs."""
    return contextlib.nullcontext() if _has_its_own() else _PULSE.of_this_step()


@contextlib.asynccontextmanager
async def beating_on_loop(beat: Callable[[], None] | None = None) -> AsyncGenerator[None]:
    """Have an async step beat while the block runs, or call its own `beat` again and again."""
    if beat is None and _has_its_own():
        yield
        return
    beat = beat or activity.heartbeat
    pause = min(BEAT, (activity.info().heartbeat_timeout or LIVENESS) / 3)

    async def again_and_again() -> None:
        while True:
            await asyncio.sleep(pause.total_seconds())
            beat()

    task = asyncio.create_task(again_and_again())
    try:
        yield
    finally:
        task.cancel()


def _has_its_own() -> bool:
    return activity.info().heartbeat_timeout != LIVENESS


class _Pulse:
    """Beats for every sync step of the process from one thread.

    To start a thread for each step costs more than all else that is done around it.
    """

    def __init__(self) -> None:
        self._steps: dict[object, contextvars.Context] = {}
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def of_this_step(self) -> Generator[None]:
        key = object()
        self._steps[key] = contextvars.copy_context()
        with self._starting:
            # Asked each time: a fork takes no threads along.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._beat, name="hitl-pulse", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            del self._steps[key]

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT.total_seconds())
            for context in list(self._steps.values()):
                try:
                    context.run(activity.heartbeat)
                except Exception as error:  # Most likely the step has ended meanwhile.
                    _log.debug("no heartbeat for a step: %r", error)


_PULSE = _Pulse()
