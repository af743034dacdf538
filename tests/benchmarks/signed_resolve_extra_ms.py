"""Milliseconds that a signed answer over HTTP takes beyond a bare, unsigned Temporal update, from
request to response; the value is the difference of the medians.
"""

from __future__ import annotations

import json
import secrets
import statistics
import tempfile
from pathlib import Path

from temporal_hitl.http import new_token
from temporal_hitl.signing import KEYS
from tests.benchmarks.figure import Figure, percentile
from tests.benchmarks.http_answers import hold_with

ROUNDS = 40


async def measure(rounds: int) -> Figure:
    """Return it, of `rounds` answers each way."""
    token, kept = new_token("ana", ["reviewer"])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tokens.toml"
        said = kept.model_dump(mode="json")
        lines = [f"{name} = {json.dumps(value)}" for name, value in said.items()]
        file.write_text("\n".join(["[[tokens]]", *lines]))
        settings = {
            KEYS: f"bench:{secrets.token_urlsafe(32)}",
            "HITL_API_TOKENS_FILE": str(file),
        }
        laps = await hold_with(rounds, settings, {"Authorization": f"Bearer {token}"})
    signed, by_update = statistics.median(laps.over_http), statistics.median(laps.by_update)
    detail = {
        "aim": 8,
        "rounds": rounds,
        "signed": {"p50": round(signed, 2), "p99": percentile(laps.over_http, 99)},
        "by_update": {"p50": round(by_update, 2), "p99": percentile(laps.by_update, 99)},
    }
    value = round(signed - by_update, 2)
    return Figure("signed_resolve_extra_ms", value, "milliseconds", detail)
