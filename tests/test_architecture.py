"""The rules that hold the folders together, read from the source."""

import ast
import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from temporalio.worker import WorkerConfig
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from temporal_hitl import HitlPlugin

ROOT = Path(__file__).parent.parent
FOLDERS = ("temporal_hitl", "activities", "workflows", "api", "tests")
"""The root folders, each importing only from those to the left of it."""

LAYERS = (
    "errors",
    "_wire",
    "_arguments",
    "_subscribers",
    "_messages",
    "_json_schema",
    "_forms",
    "review",
    "requirements",
    "signing",
    "events",
    "_flow",
    "approvals",
    "turns",
    "conversation",
    "drafts",
    "run",
    "stream_events",
    "_options",
    "_asking",
    "primitives",
    "_source",
    "plan",
    "_compile",
    "_registry",
    "_attributes",
    "_sizes",
    "_calls",
    "_details",
    "_permission",
    "_ledger",
    "_verifying",
    "_notices",
    "_doors",
    "_board",
    "workflow",
    "_scope",
    "_agent_progress",
    "_progress",
    "_previous",
    "_given",
    "_caller",
    "_budget",
    "_child_end",
    "_children",
    "_choices",
    "_journal",
    "_reviews",
    "_filing",
    "_functions",
    "_together",
    "_needs",
    "_agents",
    "_interpreter",
    "_execution",
    "_workflow_types",
    "_notifying",
    "_reach",
    "_line",
    "_returning",
    "_beats",
    "_agent_activities",
    "_activities",
    "_following",
    "_listing",
    "_answering",
    "_chronicle",
    "_watching",
    "client",
    "_approvals",
    "_threads",
    "notifications",
    "_sink",
    "_beside",
    "plugin",
    "local",
    "_site",
    "_twins",
    "_going_on",
    "pipeline",
    "agents",
    "http",
    "cli",
)
"""The modules of `temporal_hitl`, each importing only from those above it."""


def sources(*folders: str) -> list[Path]:
    """The Python files of root folders, as far as those exist."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """The parsed source of a file."""
    return ast.parse(path.read_text())


@pytest.fixture(scope="module", autouse=True)
def trees() -> Iterator[None]:
    """Keep the trees as long as these tests need them, and look for no garbage meanwhile: there is
    none, and among half a million nodes that takes longer than all the rest.
    """
    gc.disable()
    yield
    tree.cache_clear()
    gc.enable()


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the dotted name of everything that a file imports, within functions too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(path, node)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def absolute(path: Path, node: ast.ImportFrom) -> str:
    """The dotted name that an import starts from, relative ones resolved."""
    if not node.level:
        return node.module or ""
    package = path.relative_to(ROOT).parent.parts
    parent = package[: len(package) - node.level + 1]
    return ".".join((*parent, *filter(None, [node.module])))


def layer(path: Path) -> str:
    """The module of `temporal_hitl` that a file is, or is a part of."""
    return path.relative_to(ROOT / "temporal_hitl").with_suffix("").parts[0]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a file, nested ones too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def where(path: Path, line: int) -> str:
    """A place that a terminal can jump to."""
    return f"{path.relative_to(ROOT)}:{line}"


def test_folders_import_one_way() -> None:
    """`api` uses `workflows`, which uses `activities`, which uses the library, and never back."""
    wrong = [
        f"{where(path, line)} imports {name}"
        for index, folder in enumerate(FOLDERS)
        for path in sources(folder)
        for line, name in imports(path)
        if name.split(".")[0] in FOLDERS[index + 1 :]
    ]
    assert wrong == []


def test_modules_import_upwards() -> None:
    """A module of the library uses only those above it, so that it can be read from the top."""
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in sources("temporal_hitl")
        if layer(path) in LAYERS
        for line, name in imports(path)
        if name.split(".")[0] == "temporal_hitl" and not is_above(name, layer(path))
    ]
    assert wrong == []


def is_above(name: str, module: str) -> bool:
    """Whether what is imported belongs to a layer above `module`, or to `module` itself."""
    imported = name.split(".")[1]
    return imported in LAYERS[: LAYERS.index(module) + 1]


def test_every_module_has_its_layer() -> None:
    """The list of layers names the modules that there are: a new one gets its place on purpose."""
    assert {layer(path) for path in sources("temporal_hitl")} == {"__init__", *LAYERS}


def test_root_folders_are_packages() -> None:
    """Root folders are packages, and none below `tests` takes the name of one of them."""
    there = [folder for folder in FOLDERS if (ROOT / folder).is_dir()]
    assert [folder for folder in there if not (ROOT / folder / "__init__.py").exists()] == []
    assert [path for path in (ROOT / "tests").rglob("*/") if path.name in FOLDERS] == []


def test_modules_are_short() -> None:
    """A module that outgrows 400 lines becomes a package."""
    lengths = {
        where(path, 1): len(path.read_text().splitlines())
        for path in sources("temporal_hitl", "activities", "workflows", "api")
    }
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_functions_are_short() -> None:
    """A function that outgrows 40 lines becomes several."""
    lengths = {
        where(path, function.lineno): (function.end_lineno or 0) - function.lineno + 1
        for path in sources(*FOLDERS)
        for function in functions(path)
    }
    assert {place: length for place, length in lengths.items() if length > 40} == {}


def test_every_test_says_its_guarantee() -> None:
    """Every test has a docstring whose sentence is the guarantee that it tries to break."""
    mute = [
        where(path, function.lineno)
        for path in sources("tests")
        for function in functions(path)
        if function.name.startswith("test_")
        and not (ast.get_docstring(function) or "").rstrip().endswith(".")
    ]
    assert mute == []


def test_the_sandbox_stays_closed() -> None:
    """The plugin passes the library through the sandbox, and nothing that may be a user's own."""
    before = SandboxedWorkflowRunner()
    config = HitlPlugin().configure_worker(WorkerConfig(workflow_runner=before))  # pyright: ignore[reportCallIssue]
    after = config.get("workflow_runner")
    assert isinstance(after, SandboxedWorkflowRunner)
    passed = after.restrictions.passthrough_modules
    assert passed - before.restrictions.passthrough_modules == {"temporal_hitl"}
