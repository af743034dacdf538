"""The search attributes that the inbox filters by: their names, and that a namespace has them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from temporal_hitl.errors import DefinitionError, SearchAttributesMissing

HITL_STATUS = SearchAttributeKey.for_keyword("HitlStatus")
"""Holds `pending` while something is open, else `blocked` while no worker has a step's code.

Filter by `ExecutionStatus` too: closed runs keep what they had.
"""
HITL_TAGS = SearchAttributeKey.for_keyword_list("HitlTags")
"""Holds `kind:confirmation` and the like for what is open, beside the tags given at the start."""
PENDING = "pending"
BLOCKED = "blocked"

SEARCH_ATTRIBUTES = {HITL_STATUS.name: "Keyword", HITL_TAGS.name: "KeywordList"}
"""What the namespace must have, by name and Temporal's type."""
SPREAD = 10.0
"""Seconds that a server is given until attributes just created can be used."""

_TYPES = {
    HITL_STATUS.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    HITL_TAGS.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
}


def session_tag(session_id: str) -> str:
    """Return the tag in `HitlTags` that a session's runs carry.

    Raises:
        DefinitionError: it has a character by which the runs could not be found again.
    """
    # In a filter these end the value, and the server's databases read them each in another way.
    if wrong := set(session_id) & set("\\\"'\0"):
        raise DefinitionError(
            f"session_id={session_id!r}: no session can be found by an id with {min(wrong)!r} in"
            " it; leave out quotes and backslashes"
        )
    return f"session:{session_id}"


async def ensure_search_attributes(client: Client) -> None:
    """Make sure that the namespace has our search attributes; create them where that is allowed.

    An attribute that is missing would wedge the first run that pauses, so a worker does not start
    without.

    Raises:
        SearchAttributesMissing: they are not there and cannot be created; with the command to run.
    """
    if await check_search_attributes(client):
        return
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=_TYPES)
    try:
        await client.operator_service.add_search_attributes(request, retry=True)
        async with asyncio.timeout(SPREAD):
            while not await _exist(client):
                await asyncio.sleep(0.1)
    except (RPCError, TimeoutError) as error:
        raise missing(client.namespace, error) from error


async def check_search_attributes(client: Client) -> bool:
    """Return whether the namespace has our search attributes.

    Raises:
        SearchAttributesMissing: it has one of another type; with the commands to run.
    """
    there = await _known(client)
    wrong = {name for name in _TYPES.keys() & there.keys() if there[name] != _TYPES[name]}
    if wrong:
        raise _of_another_type(client.namespace, sorted(wrong))
    return await _exist(client)


async def _known(client: Client) -> Mapping[str, IndexedValueType.ValueType]:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        told = await client.operator_service.list_search_attributes(request, retry=True)
    except RPCError as error:
        # Not every server lets a worker ask; that the attributes exist is asked in another way.
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED):
            return {}
        raise
    return told.custom_attributes


async def _exist(client: Client) -> bool:
    # A List query that names them is answered everywhere, on Temporal Cloud too.
    query = " OR ".join(f"{name} = 'none'" for name in SEARCH_ATTRIBUTES)
    try:
        await client.count_workflows(query)
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            return False
        raise
    return True


def _of_another_type(namespace: str, names: list[str]) -> SearchAttributesMissing:
    wanted = ", ".join(f"{name} as {SEARCH_ATTRIBUTES[name]}" for name in names)
    removed = " ".join(f"--name {name}" for name in names)
    made = " ".join(f"--name {name} --type {SEARCH_ATTRIBUTES[name]}" for name in names)
    return SearchAttributesMissing(
        f"namespace {namespace!r} has {', '.join(names)} of another type; it must have {wanted}."
        " An operator must run:\n"
        f"  temporal operator search-attribute remove --namespace {namespace} {removed} --yes\n"
        f"  temporal operator search-attribute create --namespace {namespace} {made}"
    )


def missing(namespace: str, error: Exception) -> SearchAttributesMissing:
    """Return the error that says what an operator must run."""
    names = " ".join(f"--name {name} --type {kind}" for name, kind in SEARCH_ATTRIBUTES.items())
    return SearchAttributesMissing(
        f"namespace {namespace!r} lacks the search attributes {', '.join(SEARCH_ATTRIBUTES)}, and"
        f" they cannot be created from here ({error}). An operator must run:\n"
        f"  temporal operator search-attribute create --namespace {namespace} {names}"
    )
