"""Signs what is answered from an operator's own machine, where `HITL_SIGNING_KEYS` is set, and on a
developer's, beside the embedded server.

Whoever has the keys can sign in anybody's name, and as any role: nothing here finds out who types.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from temporal_hitl._arguments import role_names
from temporal_hitl._beside import Beside
from temporal_hitl.cli._exits import Usage
from temporal_hitl.client import HitlClient
from temporal_hitl.errors import DefinitionError, OperatorError
from temporal_hitl.requirements import AnyResolution, Channel, parse_resolution
from temporal_hitl.signing import Signer, SigningKeys

ROLES = "HITL_ROLES"
"""The variable that holds the roles of who types, with commas between."""


def signed(
    answer: dict[str, Any],
    hitl: HitlClient,
    run_id: str,
    roles: Sequence[str],
    beside: Callable[[], Beside | None],
) -> AnyResolution:
    """Return an answer as it is sent: signed, where there are keys and it says who decides.

    With the keys of an embedded server only where roles are said: there nobody else signs.
    """
    resolution = parse_resolution(answer)
    keys, mine = _keys(), own_roles(roles)
    if keys is None and mine and (embedded := beside()) is not None:
        keys = embedded.keys()
    if keys is None or resolution.resolved_by is None:
        return resolution
    return Signer(keys, Channel.cli).sign(
        resolution,
        namespace=hitl.client.namespace,
        run_id=run_id,
        subject=resolution.resolved_by,
        roles=mine,
    )


def _keys() -> SigningKeys | None:
    try:
        return SigningKeys.from_environment()
    except OperatorError as wrong:
        raise Usage(str(wrong)) from None


def own_roles(given: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the roles of who types: as given, or as `HITL_ROLES` says."""
    words = given or [each.strip() for each in os.environ.get(ROLES, "").split(",")]
    try:
        return role_names([each for each in words if each], "--role" if given else ROLES)
    except DefinitionError as wrong:
        raise Usage(str(wrong)) from None
