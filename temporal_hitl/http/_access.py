"""Who calls, and what they may do.

Owns the `Authenticator` protocol and the two schemes that come with it: nobody but this machine,
and static bearer tokens of which only the digest is kept. Knows nothing of runs.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import tomllib
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from temporal_hitl._arguments import is_role
from temporal_hitl.errors import DefinitionError, HitlError
from temporal_hitl.requirements import problems_of

__all__ = [
    "Authenticator",
    "BearerTokens",
    "Caller",
    "LoopbackOnly",
    "NotAllowed",
    "NotAuthenticated",
    "Role",
    "Token",
    "is_role",
    "new_token",
]

Scheme: TypeAlias = Callable[..., Any]


class NotAuthenticated(HitlError):
    """The caller does not say who they are, or not in a way that is known."""

    def __init__(self, message: str, *, challenge: str = "Bearer") -> None:
        super().__init__(message)
        self.challenge = challenge
        """What the `WWW-Authenticate` header says."""


class NotAllowed(HitlError):
    """The caller is known, and may not do this."""


class Role(StrEnum):
    """What a caller may do here. Whoever has a role may look; a user may have several, and others
    beside these: words of an author's, who asks certain roles alone (`roles=["finance"]`).
    """

    viewer = "viewer"
    """Looks."""
    reviewer = "reviewer"
    """Answers requirements."""
    operator = "operator"
    """Starts and cancels runs."""


class Caller(BaseModel):
    """Who calls, as an authenticator found."""

    model_config = ConfigDict(frozen=True)

    user: str | None
    """The identity, which is `resolved_by` of every answer; None where nobody is asked for one."""
    roles: frozenset[str]
    signs_as: str | None = None
    """In whose name answers are signed of a caller who has none, and gives none."""

    def must_be(self, role: Role) -> None:
        """Raise `NotAllowed` unless the caller has `role`."""
        if role not in self.roles:
            has = ", ".join(sorted(self.roles)) or "none"
            raise NotAllowed(f"this needs the role {role.value!r}; {self.user!r} has: {has}")


class Authenticator(Protocol):
    """Finds out who calls: the seam for other schemes than those here."""

    @property
    def scheme(self) -> Scheme | None:
        """What the OpenAPI document says of it: a `fastapi.security` scheme."""
        ...

    async def authenticate(self, request: Request) -> Caller:
        """Return who calls, or raise `NotAuthenticated` or `NotAllowed`."""
        ...


_OF_PROXIES = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class LoopbackOnly:
    """Asks nobody for a name, and so serves this machine alone; everybody on it may do everything.

    With `signs_as`, for a developer's own machine, answers are signed in that name, or the one that
    they give, with all of `roles`; where the service has keys.

    Whether a request comes from this machine is seen by both ends of its connection, by what a
    proxy adds, by the name that it calls the server (a page of another site may have its own name
    point here), and by the site that a browser says it comes from.
    """

    scheme: Scheme | None = None

    def __init__(self, *, signs_as: str | None = None, roles: Iterable[str] = ()) -> None:
        self._caller = Caller(
            user=None,
            roles=frozenset([*(each.value for each in Role), *roles]),
            signs_as=signs_as,
        )

    async def authenticate(self, request: Request) -> Caller:
        """Return a caller without a name; raises `NotAllowed` for any other machine."""
        client = request.client.host if request.client else None
        server: tuple[str, int | None] | None = request.scope.get("server")
        for end, address in (("comes from", client), ("arrived at", server and server[0])):
            if not is_loopback(address):
                raise NotAllowed(
                    f"without authentication only this machine is served; the call {end} {address}."
                    " Configure an authenticator (static bearer tokens, or one of yours)"
                )
        if proxied := [name for name in _OF_PROXIES if name in request.headers]:
            raise NotAllowed(
                f"without authentication only this machine is served, and {proxied[0]} says that"
                " the call came through a proxy"
            )
        host = request.headers.get("host", "")
        if not is_loopback(_hostname(host)):
            raise NotAllowed(
                f"without authentication the server is called localhost, and not {host!r}"
            )
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise NotAllowed(f"without authentication a page of {origin} may not call this")
        return self._caller


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def is_loopback(host: str | None) -> bool:
    """Return whether a host is this machine, as an address or as `localhost`."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


class Token(BaseModel):
    """One bearer token, as it is kept: never itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    user: str = Field(min_length=1, max_length=200)
    """Whose it is: `resolved_by` of what is answered with it."""
    roles: frozenset[str]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the token in UTF-8. It has 256 random bits, so nothing slower is needed."""

    @field_validator("roles")
    @classmethod
    def _are_roles(cls, roles: frozenset[str]) -> frozenset[str]:
        for each in sorted(roles):
            if not is_role(each):
                # Without it: somebody may have written the token itself there.
                raise ValueError("a role is a word in lower case")
        return frozenset(str(each) for each in roles)


def new_token(user: str, roles: Iterable[Role | str]) -> tuple[str, Token]:
    """Return a token for `user`, to be shown once, and what is to be kept of it."""
    secret = f"hitl_{secrets.token_urlsafe(32)}"
    kept = Token(user=user, roles=frozenset(roles), sha256=_digest(secret))
    return secret, kept


class BearerTokens:
    """Static bearer tokens, each with its user and roles."""

    scheme: Scheme | None = HTTPBearer(
        auto_error=False, description="A token that an operator has handed out."
    )

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._callers = {each.sha256: Caller(user=each.user, roles=each.roles) for each in tokens}

    @classmethod
    def read(cls, file: Path) -> BearerTokens:
        """Return the tokens of a TOML file: a table `[[tokens]]` each, with user, roles, sha256.

        Raises:
            DefinitionError: it cannot be read, or holds something else.
        """
        try:
            data = tomllib.loads(file.read_text())
            return cls([Token.model_validate(each) for each in data["tokens"]])
        except ValidationError as invalid:
            # Without what came: somebody may have written the token itself there.
            told = "; ".join(each.partition(" (got ")[0] for each in problems_of(invalid))
        except (OSError, ValueError, LookupError, TypeError) as error:
            told = f"{type(error).__name__}: {error}"
        raise DefinitionError(
            f"{file} is no file of tokens ([[tokens]] user, roles, sha256): {told}"
        )

    async def authenticate(self, request: Request) -> Caller:
        """Return whose token the request carries."""
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise NotAuthenticated("send the header `Authorization: Bearer TOKEN`")
        # By digest: how long the look-up takes tells nothing of a token.
        caller = self.caller_of(_digest(secret.strip()))
        if caller is None:
            raise NotAuthenticated(
                "this token is not known", challenge='Bearer error="invalid_token"'
            )
        return caller

    def caller_of(self, sha256: str) -> Caller | None:
        """Return whose token has this digest; None where nobody has it."""
        return self._callers.get(sha256)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
