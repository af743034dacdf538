"""A user's own workflows and activities, as they stand beside pipelines on one worker; not a
test.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from temporalio import activity, workflow

from temporal_hitl.errors import DefinitionError


@activity.defn
def thread_name() -> str:
    """Return the name of the thread that runs it."""
    return threading.current_thread().name


@workflow.defn
class Own:
    """A workflow that has nothing to do with people."""

    @workflow.run
    async def run(self) -> str:
        """Return where its activity ran."""
        limit = timedelta(seconds=10)
        return await workflow.execute_activity(thread_name, start_to_close_timeout=limit)


@workflow.defn
class Clocked:
    """A workflow that does what the sandbox is there to catch."""

    @workflow.run
    async def run(self) -> str:
        """Ask the machine for the time."""
        return datetime.now().isoformat()


@workflow.defn
class Refusing:
    """A workflow that ends with an error of ours."""

    @workflow.run
    async def run(self) -> str:
        """Raise it."""
        raise DefinitionError("written wrongly")
