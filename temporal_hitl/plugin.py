"""One line on a Client or a Worker: `HitlPlugin(workflows=[...])`.

Owns what a worker needs to serve pipelines: their workflow types, their activities, the threads for
sync executors, the data converter, and the check that the namespace has our search attributes.
Leaves the user's own workflows, activities, converter and sandbox as they are.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import temporalio.activity
import temporalio.workflow
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import DataConverter, DefaultPayloadConverter
from temporalio.plugin import SimplePlugin
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker, WorkerConfig, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from temporal_hitl._activities import activities_of
from temporal_hitl._workflow_types import workflow_type
from temporal_hitl.errors import HitlError, SearchAttributesMissing
from temporal_hitl.plan import Registry
from temporal_hitl.primitives import Definition
from temporal_hitl.workflow import HITL_STATUS, HITL_TAGS

__all__ = ["SEARCH_ATTRIBUTES", "THREADS", "HitlPlugin", "ensure_search_attributes"]

SEARCH_ATTRIBUTES = {HITL_STATUS.name: "Keyword", HITL_TAGS.name: "KeywordList"}
"""What the namespace must have, by name and Temporal's type."""
THREADS = 100
"""How many sync executors a worker runs at once, where it has no `activity_executor` of its own."""

_TYPES = {
    "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "KeywordList": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
}


class HitlPlugin(SimplePlugin):
    """Serves pipelines on a worker, and gives a client the converter to talk to them.

    Give it to a `Client`, whose workers inherit it, or to a `Worker`, or to both: what is there
    already is not added twice. Works with `Replayer(workflows=[], plugins=[...])` too.

    Raises:
        DefinitionError: two pipelines of one name, or what is no pipeline.
        SearchAttributesMissing: at worker start, where the namespace lacks them and they cannot be
        created;
            with the command that an operator must run.
    """

    def __init__(
        self, workflows: Sequence[Definition] = (), *, registry: Registry | None = None
    ) -> None:
        self.registry = Registry(workflows) if registry is None else registry
        self._threads = ThreadPoolExecutor(
            THREADS, thread_name_prefix="hitl-step"
        )  # started as needed
        self._types = {name: workflow_type(name) for name in self.registry.names}
        super().__init__(
            "temporal_hitl.HitlPlugin",
            data_converter=_converter,
            workflows=self._with_workflows,
            activities=self._with_activities,
            workflow_runner=_pass_through,
            workflow_failure_exception_types=[HitlError],
        )

    def _with_workflows(self, existing: Sequence[type] | None) -> Sequence[type]:
        return _joined(existing or (), list(self._types.values()), _workflow_name)

    def _with_activities(
        self, existing: Sequence[Callable[..., Any]] | None
    ) -> Sequence[Callable[..., Any]]:
        return _joined(existing or (), activities_of(self.registry), _activity_name)

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Add what is not there yet; see the class."""
        config = super().configure_worker(config)
        if config.get("activity_executor") is None and self.registry.names:
            config["activity_executor"] = self._threads
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Check the namespace's search attributes, then run the worker."""
        if self.registry.names:
            await ensure_search_attributes(worker.client)
        await super().run_worker(worker, next)


def _joined(
    existing: Sequence[Any], ours: Sequence[Any], name_of: Callable[[Any], str | None]
) -> list[Any]:
    # The same plugin on a client and on its worker is asked twice.
    there = {name_of(each) for each in existing}
    return [*existing, *(each for each in ours if name_of(each) not in there)]


def _workflow_name(cls: type) -> str | None:
    definition = temporalio.workflow._Definition.from_class(cls)  # pyright: ignore[reportPrivateUsage]
    return None if definition is None else definition.name


def _activity_name(function: Callable[..., Any]) -> str | None:
    definition = temporalio.activity._Definition.from_callable(function)  # pyright: ignore[reportPrivateUsage]
    return None if definition is None else definition.name


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


async def ensure_search_attributes(client: Client) -> None:
    """Make sure that the namespace has our search attributes; create them where that is allowed.

    An attribute that is missing would wedge the first run that pauses, so a worker does not start
    without.

    Raises:
        SearchAttributesMissing: they are not there and cannot be created; with the command to run.
    """
    if await _attributes_exist(client):
        return
    wanted = {name: _TYPES[kind] for name, kind in SEARCH_ATTRIBUTES.items()}
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=wanted)
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise SearchAttributesMissing(_how_to_create(client.namespace, error)) from error


async def _attributes_exist(client: Client) -> bool:
    # A List query that names them is answered everywhere, on Temporal Cloud too.
    query = " OR ".join(f"{name} = 'none'" for name in SEARCH_ATTRIBUTES)
    try:
        await client.count_workflows(query)
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            return False
        raise
    return True


def _how_to_create(namespace: str, error: RPCError) -> str:
    names = " ".join(f"--name {name} --type {kind}" for name, kind in SEARCH_ATTRIBUTES.items())
    return (
        f"namespace {namespace!r} lacks the search attributes {', '.join(SEARCH_ATTRIBUTES)}, and"
        f" this worker may not create them ({error.message}). An operator must run:\n"
        f"  temporal operator search-attribute create --namespace {namespace} {names}"
    )
