"""Who sits before a browser: a session in a signed cookie.

Owns the cookie and the token that each form carries against requests from other sites. A session
begins without a user; with bearer tokens it names the token's digest, and never the token.
"""

# pyjwt's own signatures hold Unknowns.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from fastapi import Request, Response

from temporal_hitl.errors import DefinitionError
from temporal_hitl.http._access import Authenticator, BearerTokens, Caller, LoopbackOnly

COOKIE = "hitl_session"
SHORTEST = 32
"""Characters that a key has at least."""
_ALGORITHM = "HS256"


@dataclass(frozen=True)
class Session:
    """One browser's session."""

    csrf: str
    """What each form of the session carries."""
    caller: Caller | None = None
    """Who has signed in."""
    sha256: str | None = None
    """Of the token that they signed in with."""

    def is_from_us(self, csrf: str | None) -> bool:
        """Return whether a form carries what forms of this session do."""
        return secrets.compare_digest(self.csrf.encode(), (csrf or "").encode())


class Sessions:
    """Signs sessions, and reads them back."""

    def __init__(self, key: str | None, lasts: timedelta, authenticator: Authenticator) -> None:
        if key is not None and len(key) < SHORTEST:
            raise DefinitionError(
                f"Inbox(key=...): {SHORTEST} characters at least; make one with"
                " `python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
            )
        self._key = hashlib.sha256((key or secrets.token_urlsafe(32)).encode()).digest()
        self._lasts = lasts
        self._authenticator = authenticator

    def read(self, request: Request) -> Session | None:
        """Return the session of a request; None where there is none that holds."""
        try:
            said: dict[str, Any] = jwt.decode(
                request.cookies.get(COOKIE, ""),
                self._key,
                algorithms=[_ALGORITHM],
                options={"require": ["exp", "csrf"]},
            )
            roles = frozenset(map(str, said.get("roles", ())))
        except (jwt.InvalidTokenError, ValueError):
            return None
        if "roles" not in said:
            return Session(said["csrf"])
        caller = Caller(user=said.get("sub"), roles=roles)
        known = self._still(caller, said.get("sha256"))
        return None if known is None else Session(said["csrf"], known, said.get("sha256"))

    def _still(self, caller: Caller, sha256: str | None) -> Caller | None:
        # Where nobody is asked for a name, each request is looked at by itself.
        if isinstance(self._authenticator, LoopbackOnly):
            return None
        # A token that was withdrawn, or has other roles now, counts as it is now.
        if isinstance(self._authenticator, BearerTokens):
            return self._authenticator.caller_of(sha256 or "")
        return caller

    def new(self) -> Session:
        """Return a session of nobody."""
        return Session(secrets.token_urlsafe(32))

    async def sign_in(self, request: Request, token: str) -> Session:
        """Return a session of whoever `token` belongs to; raises `NotAuthenticated`."""
        carried = [(b"authorization", b"Bearer " + token.encode())]
        kept = [each for each in request.scope["headers"] if each[0] != b"authorization"]
        asked = Request({**request.scope, "headers": kept + carried})
        caller = await self._authenticator.authenticate(asked)
        sha256 = hashlib.sha256(token.encode()).hexdigest()
        return Session(secrets.token_urlsafe(32), caller, sha256)

    def keep(self, session: Session, request: Request, response: Response, path: str) -> None:
        """Have the browser keep `session`, for the pages at `path`."""
        until = datetime.now(UTC) + self._lasts
        said: dict[str, Any] = {"csrf": session.csrf, "exp": until}
        if session.caller is not None:
            said["roles"] = sorted(session.caller.roles)
            said["sha256"] = session.sha256
            if session.caller.user is not None:
                said["sub"] = session.caller.user
        response.set_cookie(
            COOKIE,
            jwt.encode(said, self._key, algorithm=_ALGORITHM),
            max_age=int(self._lasts.total_seconds()),
            path=path,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
