"""What every endpoint stands on: the client, the snapshot, the pipelines, and who calls.

Owns how an endpoint comes by them. Each call is authenticated before anything else is looked at but
the shape of its body.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from temporal_hitl._compile import Compiled, compile_definition
from temporal_hitl.approvals import ApprovalsFile
from temporal_hitl.client import HitlClient
from temporal_hitl.http._access import Authenticator, Caller, NotAllowed, Role
from temporal_hitl.http._snapshot import Snapshot
from temporal_hitl.primitives import Definition
from temporal_hitl.requirements import Channel
from temporal_hitl.signing import Signer, SigningKeys


@dataclass(frozen=True)
class Service:
    """What one router serves."""

    client: HitlClient
    pipelines: dict[str, Compiled]
    authenticator: Authenticator
    snapshot: Snapshot
    signer: Signer | None = None
    """Signs the answers of callers who have a name; where there is none, they are claims."""
    approvals: ApprovalsFile | None = None
    """Where approvals that have closed are read."""


def service_of(
    client: HitlClient,
    workflows: Iterable[Definition],
    authenticator: Authenticator,
    signing_keys: SigningKeys | None = None,
    approvals: ApprovalsFile | None = None,
) -> Service:
    """Return a service for these pipelines and all that are nested in them."""
    family = [each for given in workflows for each in compile_definition(given).family]
    pipelines = {each.name: compile_definition(each) for each in family}
    signer = None if signing_keys is None else Signer(signing_keys, Channel.http)
    return Service(client, pipelines, authenticator, Snapshot(client), signer, approvals)


def entrance(service: Service) -> Callable[[Request], Awaitable[None]]:
    """Return the dependency that every route begins with: it finds out who calls."""

    async def enter(request: Request) -> None:
        caller = await service.authenticator.authenticate(request)
        if not caller.roles:
            raise NotAllowed(f"{caller.user!r} has no role, and so may not even look")
        request.state.hitl_service = service
        request.state.hitl_caller = caller

    return enter


def _service(request: Request) -> Service:
    return request.state.hitl_service


def _who(role: Role | None = None) -> Callable[[Request], Caller]:
    def who(request: Request) -> Caller:
        caller: Caller = request.state.hitl_caller
        if role is not None:
            caller.must_be(role)
        return caller

    return who


Here = Annotated[Service, Depends(_service)]
Viewer = Annotated[Caller, Depends(_who())]
Reviewer = Annotated[Caller, Depends(_who(Role.reviewer))]
Operator = Annotated[Caller, Depends(_who(Role.operator))]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        description="Makes the same request, sent again by the same caller, count once.",
    ),
]


def key_of(caller: Caller, *parts: str | None) -> str:
    """Return an id that one caller and these parts make, and no others."""
    text = json.dumps([caller.user, *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
