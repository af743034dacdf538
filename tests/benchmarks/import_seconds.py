"""Seconds that `import temporal_hitl` takes beyond `import temporalio.client, pydantic`.

Fresh processes in turn, one that imports these two alone and one that imports the library after
them; each times its own imports. The value is the difference of the medians. The detail names the
web and agent frameworks that came along (there must be none), and where the time goes.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.figure import Figure, quartiles

ROUNDS = 11
ROOT = Path(__file__).parents[2]
BASE = "import temporalio.client, pydantic"
LIBRARY = "import temporal_hitl"
FRAMEWORKS = {
    *("fastapi", "starlette", "uvicorn", "jinja2", "typer", "rich", "apprise"),
    *("pydantic_ai", "pydantic_graph", "agno", "langchain", "langchain_core", "langgraph"),
    *("openai", "anthropic", "mcp", "crewai", "llama_index", "autogen", "smolagents"),
}
_MARK = "-- library --"
_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|\s+(\S+)")


async def measure(rounds: int) -> Figure:
    """Return the seconds after `rounds` rounds."""
    statements = {"base": BASE, "both": f"{BASE}\n{LIBRARY}"}
    await _seconds(statements["both"])  # compiles what is not compiled yet
    taken: dict[str, list[float]] = {name: [] for name in statements}
    for turn in range(rounds):
        for name in sorted(statements, reverse=bool(turn % 2)):
            taken[name].append(await _seconds(statements[name]))
    beyond = statistics.median(taken["both"]) - statistics.median(taken["base"])
    detail = {
        "aim": 0.6,
        "rounds": rounds,
        "seconds_quartiles": {name: quartiles(each) for name, each in taken.items()},
        "frameworks_imported": await _frameworks(),
        "ten_most_expensive_ms": await _expensive(),
    }
    return Figure("import_seconds", round(beyond, 3), "seconds", detail)


async def _seconds(statements: str) -> float:
    timed = f"began = time.perf_counter()\n{statements}\nprint(time.perf_counter() - began)"
    return float((await _python(f"import time\n{timed}"))[0])


async def _frameworks() -> list[str]:
    told, _ = await _python(f"{LIBRARY}\nimport json, sys\nprint(json.dumps(list(sys.modules)))")
    modules: Any = json.loads(told)
    return sorted(FRAMEWORKS & {name.split(".")[0] for name in modules})


async def _expensive() -> dict[str, float]:
    mark = f"import sys; print({_MARK!r}, file=sys.stderr, flush=True)"
    _, told = await _python(f"{BASE}\n{mark}\n{LIBRARY}", "-X", "importtime")
    own = {name: int(us) / 1000 for us, _, name in _LINE.findall(told.partition(_MARK)[2])}
    return dict(sorted(own.items(), key=lambda each: -each[1])[:10])


async def _python(code: str, *options: str) -> tuple[str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *options, "-c", code),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    if process.returncode:
        raise RuntimeError(f"{code!r} failed: {err.decode()}")
    return out.decode(), err.decode()
