"""Threads for sync executors, which never hold up the end of the process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class DaemonThreads(ThreadPoolExecutor):
    """Runs each call in a daemon thread of its own.

    The interpreter joins a pool's threads before it ends, so a step that sleeps for an hour would
    keep the process for an hour. Cut short, it starts again on the next worker. How many run at
    once is the worker's business (`max_concurrent_activities`). A subclass, because the SDK takes
    any other executor for one of processes.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start the call now."""
        future: Future[Any] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=run, name="hitl-step", daemon=True).start()
        return future
