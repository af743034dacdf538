"""Who may answer what: the run's own copy of the question says it, and a signature who answers."""

from __future__ import annotations

from temporal_hitl.errors import BadSignature, NotPermitted
from temporal_hitl.requirements import AnyRequirement
from temporal_hitl.signing import KEYS, Signed


def permit(asked: AnyRequirement, who: Signed | None) -> None:
    """Return where an answer to `asked` counts that `who` has signed; raises why it does not."""
    if who is None:
        raise BadSignature(f"{asked.id!r}: nobody has verified the signature of this answer")
    if asked.roles and not any(role in who.roles for role in asked.roles):
        has = ", ".join(who.roles) or "none"
        raise NotPermitted(
            f"{asked.id!r} is answered by {' or '.join(asked.roles)} only; {who.subject!r} has the"
            f" roles: {has}"
        )
    if who.subject in asked.excludes:
        raise NotPermitted(
            f"{asked.id!r} is decided by somebody else than {who.subject!r}, who started the run"
        )


def where_to_sign(asked: AnyRequirement) -> str:
    """Return what is said to who answers without a signature what certain roles answer."""
    return (
        f"{asked.id!r} is answered by {' or '.join(asked.roles)} only, and nothing signs for who"
        " answers here: answer it in the inbox or over the HTTP API, signed in with that role, or"
        f" with temporal-hitl (--role {asked.roles[0]}), or continue_run(roles=[...]), on a machine"
        f" that has {KEYS}, or beside the embedded server"
    )
