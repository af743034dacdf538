"""What a test of signed answers signs with: keys, a signer, and tokens that hold no more."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import jwt

from temporal_hitl import Confirm, HitlClient
from temporal_hitl.requirements import AnyResolution, Channel
from temporal_hitl.signing import LASTS, Signer, SigningKeys

SECRET = "the-secret-of-2026-and-of-nobody-else"
BEFORE = "the-secret-of-2025-and-of-nobody-else"
KEYS = f"2026:{SECRET},2025:{BEFORE}"
"""What the variable holds: the second key verifies what was signed before the keys were rotated."""


def sign(
    client: HitlClient,
    run: str,
    answer: AnyResolution,
    *,
    keys: str = KEYS,
    subject: str = "ana",
    roles: Sequence[str] = ("finance", "reviewer"),
    channel: Channel = Channel.http,
    lasts: timedelta = LASTS,
    namespace: str | None = None,
) -> AnyResolution:
    """Return `answer` to `run`, signed as an edge of ours would."""
    signer = Signer(SigningKeys.parse(keys), channel, lasts)
    return signer.sign(
        answer,
        namespace=namespace or client.client.namespace,
        run_id=run,
        subject=subject,
        roles=roles,
    )


def confirmed(client: HitlClient, run: str, key: str = "pay", **how: Any) -> AnyResolution:
    """Return a signed yes."""
    return sign(client, run, Confirm(requirement_id=key), **how)


def claimed(answer: AnyResolution, **claims: Any) -> AnyResolution:
    """Return `answer` under claims that were changed, and the signature of those before."""
    head, said, signature = str(answer.signature).split(".")
    text = base64.urlsafe_b64decode(said + "==")
    changed = json.dumps({**json.loads(text), **claims}).encode()
    said = base64.urlsafe_b64encode(changed).decode().rstrip("=")
    return answer.model_copy(update={"signature": f"{head}.{said}.{signature}"})


def resigned(
    answer: AnyResolution,
    secret: str | None = SECRET,
    kid: str = "2026",
    without: str | None = None,
    **claims: Any,
) -> AnyResolution:
    """Return `answer` under claims that were changed, signed anew; with no secret, not at all."""
    said = jwt.decode(str(answer.signature), options={"verify_signature": False})
    changed = {name: each for name, each in {**said, **claims}.items() if name != without}
    algorithm = "none" if secret is None else "HS256"
    token = jwt.encode(changed, secret or "", algorithm=algorithm, headers={"kid": kid})
    return answer.model_copy(update={"signature": token})
