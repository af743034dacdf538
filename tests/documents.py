"""README and docs, as what can be run in them: blocks, commands, and what is said to come of each.

`# -> what` behind a command or a statement of Python says how the run then stands; a `text` block
behind one of Python is what that prints.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from temporal_hitl.cli._values import json_or_text

ROOT = Path(__file__).parent.parent
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [each for each in FILES if each.parent.name == "guide" or each.name == "agents.md"]
THEN = re.compile(r"\s+# -> (.+)$")


@dataclass(frozen=True)
class Said:
    """One command, or one statement of Python, and what is said to come of it."""

    text: str
    then: str | None = None

    @property
    def words(self) -> list[str]:
        """The words of a command."""
        return shlex.split(self.text, comments=True)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    file: Path
    line: int
    language: str
    text: str
    printed: str | None = None
    """What the page says that it prints."""

    @property
    def where(self) -> str:
        """A place that a terminal can jump to."""
        return f"{self.file.relative_to(ROOT)}:{self.line}"

    @property
    def defines(self) -> bool:
        """Whether it is Python that stands by itself, as in a module of the author's."""
        is_run = self.printed is not None or re.search(r"^(\w+ = )?await ", self.text, re.M)
        return self.language == "python" and not is_run

    @property
    def commands(self) -> list[Said]:
        """The commands of a block for the shell."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        return [_said(each) for each in joined.splitlines() if each and not each.startswith("#")]

    @property
    def statements(self) -> list[Said]:
        """The statements of a block of Python."""
        flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        lines = self.text.splitlines()
        tree: ast.Module = compile(self.text, self.where, "exec", flags)  # type: ignore[assignment]
        return [_said("\n".join(lines[node.lineno - 1 : node.end_lineno])) for node in tree.body]


def _said(text: str) -> Said:
    found = THEN.search(text)
    return Said(text) if found is None else Said(text[: found.start()], found[1])


def blocks(file: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    found = list(_fenced(file))
    printed = {
        before: block.text
        for before, block in pairwise(found)
        if (before.language, block.language) == ("python", "text")
    }
    return [
        Block(each.file, each.line, each.language, each.text, printed.get(each)) for each in found
    ]


def _fenced(file: Path) -> Iterator[Block]:
    lines = iter(enumerate(file.read_text().splitlines(), 1))
    for number, line in lines:
        fence = re.match(r"( *)```(\w*)$", line)
        if fence is None:
            continue
        inside = list[str]()
        for _, each in lines:
            if each.strip() == "```":
                break
            inside.append(each.removeprefix(fence[1]))
        yield Block(file, number, fence[2], "\n".join(inside) + "\n")


@dataclass(frozen=True)
class Start:
    """What a run is started as."""

    run: str
    pipeline: str
    input: Any = None


def starts() -> dict[str, Start]:
    """Return how each run is started that README and docs talk of, by its id."""
    said = [each for file in FILES for block in blocks(file) for each in commands_of(block)]
    return {found.run: found for each in said if (found := started_by(each))}


def commands_of(block: Block) -> list[Said]:
    """Return the commands of any block; none where it is not for the shell."""
    return block.commands if block.language == "sh" else []


def started_by(command: Said) -> Start | None:
    """Return which run a command starts, of those with an id."""
    words = command.words
    if words[:2] == ["temporal-hitl", "run"] and "--run-id" in words:
        at = words.index("--run-id")
        return Start(words[at + 1], words[2], *map(json_or_text, words[3:at]))
    if words[:3] == ["temporal", "workflow", "start"]:
        of = dict(pairwise(words))
        return Start(of["--workflow-id"], of["--type"], json.loads(of["--input"]))
    return None


def as_module(folder: Path, page: Path) -> ModuleType:
    """Write what the author of a page writes into a module, and import it from there."""
    written = [each.text for each in blocks(page) if each.defines]
    if page.parent == ROOT:
        # The README's first block defines a pipeline, and then runs it.
        written = [written[0].partition("run_output = ")[0]]
    name = f"of_{page.parent.name}_{page.stem}".lower().replace("-", "_")
    (folder / f"{name}.py").write_text("\n".join(written))
    return import_module(name)
