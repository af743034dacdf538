"""Who decides, under a signature: the envelope that our HTTP service and command line put beside a
resolution, and the keys that it is signed and verified with.

Owns the keys and the shape of the envelope. A key is read where a process starts, and stays there:
nothing here prints it, and no run ever holds one. Needs PyJWT where a key is used.
"""

# pyjwt's own signatures hold Unknowns.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from temporal_hitl._wire import read
from temporal_hitl.errors import BadSignature, OperatorError
from temporal_hitl.requirements import AnyResolution, Channel, Wire

__all__ = ["KEYS", "LASTS", "Bound", "Signed", "Signer", "SigningKeys"]

KEYS = "HITL_SIGNING_KEYS"
"""The variable that holds the keys: `kid:secret[,kid:secret...]`."""
SHORTEST = 32
"""Characters that a secret has at least."""
LASTS = timedelta(minutes=5)
"""How long a signature holds: an answer that waits for a worker longer is to be given again."""
SKEW = timedelta(seconds=30)
"""How far the clocks of who signs and who verifies may be apart."""
_ALGORITHM = "HS256"
_KID = re.compile(r"[A-Za-z0-9._-]{1,100}")


class Signed(Wire):
    """Who decides, as a signature that holds says."""

    subject: str
    roles: tuple[str, ...] = ()
    channel: Channel


class Bound(Wire):
    """What a signature must have been made for: this answer, to this question, in this run."""

    namespace: str
    run_id: str
    requirement_id: str
    shown: str | None
    """The digest of what the person saw, where the answer carries one."""
    body: str
    """The digest of the answer."""
    decision_id: str | None
    resolved_by: str | None

    @classmethod
    def of(cls, resolution: AnyResolution, namespace: str, run_id: str) -> Bound:
        """Return what a signature of `resolution` has to say, sent to this run."""
        return cls(
            namespace=namespace,
            run_id=run_id,
            requirement_id=resolution.requirement_id,
            shown=resolution.digest,
            body=resolution.body_digest(),
            decision_id=resolution.decision_id,
            resolved_by=resolution.resolved_by,
        )

    def claims(self) -> dict[str, Any]:
        """Return it as claims of a JWT."""
        claims = {
            "aud": self.namespace,
            "run": self.run_id,
            "req": self.requirement_id,
            "shown": self.shown,
            "body": self.body,
            "jti": self.decision_id,
            "sub": self.resolved_by,
        }
        return {name: each for name, each in claims.items() if each is not None}


_OF_ANOTHER = {
    "aud": "namespace",
    "run": "run",
    "req": "requirement",
    "shown": "content (what was seen is not what the answer says was seen)",
    "body": "answer",
    "jti": "decision id",
    "sub": "person than its resolved_by says",
}
"""What a signature was made for, by claim, in words."""


@dataclass(frozen=True)
class SigningKeys:
    """Keys by id: the first one signs, and all of them verify."""

    _secrets: Mapping[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse where what signs is not installed."""
        _jwt()

    @classmethod
    def parse(cls, text: str) -> SigningKeys:
        """Return the keys of `kid:secret[,kid:secret...]`.

        Raises:
            OperatorError: it is written otherwise; without a word of what was.
        """
        secrets = dict[str, str]()
        for number, entry in enumerate(text.split(","), 1):
            kid, colon, secret = entry.strip().partition(":")
            if not colon or not _KID.fullmatch(kid):
                raise _wrong(f"entry {number} is not kid:secret, with a kid like '2026-01'")
            if len(secret) < SHORTEST:
                raise _wrong(f"the secret of {kid!r} has less than {SHORTEST} characters")
            if kid in secrets:
                raise _wrong(f"the kid {kid!r} stands twice")
            secrets[kid] = secret
        return cls(secrets)

    @classmethod
    def from_environment(cls) -> SigningKeys | None:
        """Return the keys of `HITL_SIGNING_KEYS`, None where it is not set; raises as `parse`."""
        text = os.environ.get(KEYS, "").strip()
        return cls.parse(text) if text else None

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a JWT with these claims, signed with the first key."""
        kid, secret = next(iter(self._secrets.items()))
        return _jwt().encode(claims, secret, algorithm=_ALGORITHM, headers={"kid": kid})

    def verify(self, signature: str, bound: Bound) -> Signed:
        """Return who signed; raises `BadSignature` unless it was for `bound`, and still holds."""
        claims = self._claims(signature)
        expected = bound.claims()
        for claim, what in _OF_ANOTHER.items():
            if claims.get(claim) != expected.get(claim):
                raise BadSignature(f"the signature was made for another {what}")
        try:
            said = {"subject": claims["sub"], "roles": claims["roles"], "channel": claims["chn"]}
            signed = read(Signed, said)
        except (LookupError, ValidationError):
            raise BadSignature("the signature does not say who decides in what roles") from None
        if signed.channel not in (Channel.http, Channel.cli):
            raise BadSignature(f"nobody signs for the channel {signed.channel.value!r}")
        return signed

    def _claims(self, signature: str) -> dict[str, Any]:
        jwt = _jwt()
        try:
            kid = jwt.get_unverified_header(signature).get("kid", "")
            if kid not in self._secrets:
                known = ", ".join(self._secrets)
                raise BadSignature(
                    f"it was signed with the key {kid!r:.100}, and the worker knows {known}: both"
                    f" need the same {KEYS}"
                )
            return jwt.decode(
                signature,
                self._secrets[kid],
                algorithms=[_ALGORITHM],
                leeway=SKEW,
                options={"require": ["exp", "iat", "sub", "jti", "aud"], "verify_aud": False},
            )
        except jwt.ExpiredSignatureError:
            raise BadSignature("the signature has expired: give the answer again") from None
        except jwt.ImmatureSignatureError:
            raise BadSignature("the signature is of the future: set the clocks") from None
        except jwt.InvalidSignatureError:
            raise BadSignature(
                "the signature does not hold: it was changed, or made with another secret"
            ) from None
        except jwt.InvalidTokenError as error:
            raise BadSignature(f"the signature cannot be read ({error})") from None


@dataclass(frozen=True)
class Signer:
    """Signs answers, in anybody's name: whoever has one finds out first who answers."""

    keys: SigningKeys
    channel: Channel
    lasts: timedelta = LASTS

    def sign(
        self,
        resolution: AnyResolution,
        *,
        namespace: str,
        run_id: str,
        subject: str,
        roles: Iterable[str],
    ) -> AnyResolution:
        """Return `resolution` as `subject` gives it to this run, with a signature beside it."""
        whole = resolution.model_copy(
            update={
                "resolved_by": subject,
                "decision_id": resolution.decision_id or uuid.uuid4().hex,
            }
        )
        now = datetime.now(UTC)
        claims = Bound.of(whole, namespace, run_id).claims() | {
            "roles": sorted(roles),
            "chn": self.channel.value,
            "iat": now,
            "exp": now + self.lasts,
        }
        return whole.model_copy(update={"signature": self.keys.sign(claims)})


def _wrong(told: str) -> OperatorError:
    return OperatorError(
        f"{KEYS} is kid:secret[,kid:secret...]: {told}. Make a secret with"
        " `python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
    )


def _jwt() -> ModuleType:
    # Imported where it is used: a run imports this module, and needs none of it.
    try:
        import jwt
    except ImportError:
        raise OperatorError(
            f"{KEYS} is set, and what signs with it is missing: pip install 'temporal-hitl[api]'"
        ) from None
    return jwt
