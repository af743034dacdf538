"""One line on a Client or a Worker: `HitlPlugin(workflows=[...])`.

Owns what a worker needs to serve pipelines: their workflow types, their activities, the threads for
sync executors, the data converter, and the check that the namespace has our search attributes.
Leaves the user's own workflows, activities, converter and sandbox as they are.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import temporalio.activity
import temporalio.workflow
from temporalio.client import ClientConfig
from temporalio.common import VersioningBehavior
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import DataConverter, DefaultPayloadConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker import Worker, WorkerConfig, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from temporal_hitl._activities import activities_of
from temporal_hitl._attributes import ensure_search_attributes
from temporal_hitl._beats import BEAT
from temporal_hitl._beside import Beside
from temporal_hitl._line import Line
from temporal_hitl._notices import NOTIFICATION
from temporal_hitl._notifying import IS_OPEN, TELL, notification_type
from temporal_hitl._registry import Registry
from temporal_hitl._sink import Sink, check
from temporal_hitl._threads import DaemonThreads
from temporal_hitl._verifying import VERIFY, Verification
from temporal_hitl._workflow_types import workflow_type
from temporal_hitl.approvals import ApprovalsFile, ApprovalSink
from temporal_hitl.errors import DefinitionError, HitlError
from temporal_hitl.notifications import configured, telling_activities, warn_of_unknown
from temporal_hitl.primitives import Definition, HasRuns
from temporal_hitl.signing import SigningKeys

__all__ = ["THREADS", "HitlPlugin"]

SDK_THROTTLE = timedelta(seconds=60)
"""The SDK's default of `max_heartbeat_throttle_interval`; another value is the user's choice."""
THREADS = 100
"""How many steps a worker runs at once, where its `max_concurrent_activities` says nothing."""


class HitlPlugin(SimplePlugin):
    """Serves pipelines on a worker, and gives a client the converter to talk to them.

    Give it to a `Client`, whose workers inherit it, or to a `Worker`, or to both: what is there
    already is not added twice. Works with `Replayer(workflows=[], plugins=[...])` too. A pipeline
    that is a step of another is served with it.

    `retired` are names of pipelines that have no definition any more, and runs that still wait:
    these can be answered and end; where they need a step they wait for a worker that has it. A new
    run of such a name fails with a sentence.

    A worker verifies signed answers with the keys of `HITL_SIGNING_KEYS`, or `signing_keys`, which
    is read when it starts; without keys it refuses them. Approvals it files with `approvals`, or in
    the file that `HITL_APPROVALS_FILE` names. A worker that an embedded server runs has both of
    `beside`.

    Raises:
        DefinitionError: two pipelines of one name, or what is no pipeline.
        SearchAttributesMissing: at worker start, where the namespace lacks them and they cannot be
            created; with the command that an operator must run.
        OperatorError: at worker start, where an approval is served, and the keys to verify it or
            the file for it are missing.
    """

    def __init__(
        self,
        workflows: Sequence[Definition | HasRuns] = (),
        *,
        retired: Sequence[str] = (),
        registry: Registry | None = None,
        signing_keys: SigningKeys | None = None,
        approvals: ApprovalSink | None = None,
        beside: Beside | None = None,
    ) -> None:
        self.registry = Registry(workflows, retired) if registry is None else registry
        self._line = Line()
        self._signing_keys = signing_keys
        self._verification = Verification()
        self._approvals = approvals
        self._sink = Sink()
        self._beside = beside
        self._types = {name: workflow_type(name) for name in self.registry.names}
        self._notification = notification_type()
        super().__init__(
            "temporal_hitl.HitlPlugin",
            data_converter=_converter,
            workflows=self._with_workflows,
            activities=self._with_activities,
            workflow_runner=_pass_through,
            workflow_failure_exception_types=[HitlError],
        )

    def _with_workflows(self, existing: Sequence[type] | None) -> Sequence[type]:
        if not existing and not self._types:
            return []  # It runs activities alone, and leaves workflows to others of its queue.
        ours = [*self._types.values(), self._notification]
        return _joined(existing or (), ours, _workflow_name, "workflow type")

    def _with_activities(
        self, existing: Sequence[Callable[..., Any]] | None
    ) -> Sequence[Callable[..., Any]]:
        ours = [
            *activities_of(self.registry, self._line),
            *self._sink.activities(self.registry.names),
            self._verification.activity(),
        ]
        # One that runs workflows alone leaves the telling to others, unless it knows whom to tell.
        if existing or self.registry.names or configured():
            ours += telling_activities(self._line)
        return _joined(existing or (), ours, _activity_name, "activity type")

    def configure_client(self, config: ClientConfig) -> ClientConfig:
        """Upgrade the default data converter; the client's workers inherit the rest."""
        # The SDK warns of a plugin on a client and on its worker, as most then run twice; this one
        # finds what is there already.
        warnings.filterwarnings("ignore", f"The same plugin type .*{type(self).__qualname__}")
        return super().configure_client(config)

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Add what is not there yet; see the class."""
        there = _activity_names(config)
        if not (self.registry.names or configured() or there - _FOR_ANY_RUN):
            # A worker of workflows alone: what activities its queue has is other workers' business.
            config["no_remote_activities"] = True
        elif there and not there - _FOR_ANY_RUN:
            config["no_remote_activities"] = False  # As the plugin of its client has said above.
        config = super().configure_worker(config)
        if config.get("activity_executor") is None and self.registry.names:
            config["activity_executor"] = DaemonThreads(
                config.get("max_concurrent_activities") or THREADS
            )
        if self.registry.names and config.get("max_heartbeat_throttle_interval") == SDK_THROTTLE:
            # Held back by the SDK, a heartbeat would bring the word of a cancel half a minute late.
            config["max_heartbeat_throttle_interval"] = BEAT
        if any(each.agent is not None for each in self.registry.served.values()):
            # A turn's heartbeat is its checkpoint: what is held back is done again after a crash.
            config["default_heartbeat_throttle_interval"] = timedelta()
            config["max_heartbeat_throttle_interval"] = timedelta()
        deployment = config.get("deployment_config")
        if deployment is not None and deployment.use_worker_versioning:
            config["workflows"] = [self._versioned(each) for each in config.get("workflows", ())]
        return config

    def _versioned(self, cls: type) -> type:
        # Whatever the worker's default: a pinned run waits for a version that is no more.
        if _workflow_name(cls) == NOTIFICATION:
            return notification_type(VersioningBehavior.AUTO_UPGRADE)
        ours = next((name for name, each in self._types.items() if each is cls), None)
        return cls if ours is None else workflow_type(ours, VersioningBehavior.AUTO_UPGRADE)

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Check that all is there which the worker needs, then run it."""
        try:
            await self._prepare(worker)
        except BaseException:
            # Nothing was started, and `async with worker` would wait for its end for ever: what the
            # SDK does where its own check fails.
            worker._shutdown_complete_event.set()  # pyright: ignore[reportPrivateUsage]
            raise
        await super().run_worker(worker, next)

    async def _prepare(self, worker: Worker) -> None:
        self._line.connect(worker.client)
        keys = self._signing_keys or SigningKeys.from_environment()
        beside = self._beside
        self._verification.find = beside.keys if keys is None and beside else lambda: keys
        self._sink.sink = self._approvals or (
            beside.approvals() if beside else ApprovalsFile.from_environment()
        )
        check(self.registry, self._sink.sink, verifies=keys is not None or beside is not None)
        warn_of_unknown(self.registry.plans)
        if self.registry.names:
            await ensure_search_attributes(worker.client)


_FOR_ANY_RUN = {VERIFY, TELL, IS_OPEN}
"""The activities of ours that need no pipeline."""


def _joined(
    existing: Sequence[Any], ours: Sequence[Any], name_of: Callable[[Any], str | None], what: str
) -> list[Any]:
    # The same plugin on a client and on its worker is asked twice.
    there = {name_of(each): each for each in existing}
    for each in ours:
        other = there.get(name_of(each))
        if other is not None and other.__module__ != each.__module__:
            raise DefinitionError(
                f"the {what} {name_of(each)!r} is {other.__module__}.{other.__qualname__} and a"
                " pipeline's as well; rename one"
            )
    return [*existing, *(each for each in ours if name_of(each) not in there)]


def _workflow_name(cls: type) -> str | None:
    definition = temporalio.workflow._Definition.from_class(cls)  # pyright: ignore[reportPrivateUsage]
    return None if definition is None else definition.name


def _activity_name(function: Callable[..., Any]) -> str | None:
    definition = temporalio.activity._Definition.from_callable(function)  # pyright: ignore[reportPrivateUsage]
    return None if definition is None else definition.name


def _activity_names(config: WorkerConfig) -> set[str | None]:
    activities: list[Any] = [*(config.get("activities") or ())]
    return {_activity_name(each) for each in activities}


def _converter(existing: DataConverter | None) -> DataConverter:
    if existing is None:
        return pydantic_data_converter
    if existing.payload_converter_class is DefaultPayloadConverter:
        return dataclasses.replace(existing, payload_converter_class=PydanticPayloadConverter)
    return existing


def _pass_through(existing: WorkflowRunner | None) -> WorkflowRunner:
    if isinstance(existing, SandboxedWorkflowRunner):
        restrictions = existing.restrictions.with_passthrough_modules("temporal_hitl")
        return dataclasses.replace(existing, restrictions=restrictions)
    return existing or SandboxedWorkflowRunner()
