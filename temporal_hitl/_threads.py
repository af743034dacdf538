"""Threads for sync executors, which never hold up the end of the process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

IDLE = 10.0
"""Seconds that a thread waits for its next call before it ends."""


class DaemonThreads(ThreadPoolExecutor):
    """Runs each call in a daemon thread, an idle one where there is one.

    The interpreter joins a pool's threads before it ends, so a step that sleeps for an hour would
    keep the process for an hour. Cut short, it starts again on the next worker. How many run at
    once is the worker's business (`max_concurrent_activities`). A subclass, because the SDK takes
    any other executor for one of processes.
    """

    def __init__(self, max_workers: int) -> None:
        super().__init__(max_workers)
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start the call now."""
        future: Future[Any] = Future()
        self._calls.put(lambda: _settle(future, lambda: fn(*args, **kwargs)))
        if not self._idle.acquire(blocking=False):
            threading.Thread(target=self._work, name="hitl-step", daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            try:
                call = self._calls.get(timeout=IDLE)
            except queue.Empty:
                # Only a thread that nobody has been promised may leave.
                if self._idle.acquire(blocking=False):
                    return
                continue
            call()
            del call
            self._idle.release()


def _settle(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
