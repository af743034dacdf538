"""Signs what is answered from an operator's own machine, where `HITL_SIGNING_KEYS` is set.

Whoever has the keys can sign in anybody's name, and as any role: nothing here finds out who types.
"""

from __future__ import annotations

import os
from typing import Any

from temporal_hitl._arguments import role_names
from temporal_hitl.cli._exits import Usage
from temporal_hitl.client import HitlClient
from temporal_hitl.errors import DefinitionError, OperatorError
from temporal_hitl.requirements import AnyResolution, Channel, parse_resolution
from temporal_hitl.signing import Signer, SigningKeys

ROLES = "HITL_ROLES"
"""The variable that holds the roles of who types, with commas between."""


def signed(answer: dict[str, Any], hitl: HitlClient, run_id: str) -> AnyResolution:
    """Return an answer as it is sent: signed, where there are keys and it says who decides."""
    resolution = parse_resolution(answer)
    keys = _keys()
    if keys is None or resolution.resolved_by is None:
        return resolution
    return Signer(keys, Channel.cli).sign(
        resolution,
        namespace=hitl.client.namespace,
        run_id=run_id,
        subject=resolution.resolved_by,
        roles=_roles(),
    )


def _keys() -> SigningKeys | None:
    try:
        return SigningKeys.from_environment()
    except OperatorError as wrong:
        raise Usage(str(wrong)) from None


def _roles() -> tuple[str, ...]:
    words = [each.strip() for each in os.environ.get(ROLES, "").split(",")]
    try:
        return role_names([each for each in words if each], ROLES)
    except DefinitionError as wrong:
        raise Usage(str(wrong)) from None
