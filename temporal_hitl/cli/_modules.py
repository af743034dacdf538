"""What a user's own modules define: pipelines, workflows written by hand, activities."""

from __future__ import annotations

import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from temporal_hitl.cli._exits import Usage
from temporal_hitl.primitives import Definition, as_definition


@dataclass
class Contents:
    """What modules define at their top level, each thing once, in order."""

    pipelines: list[Definition] = field(default_factory=list[Definition])
    workflows: list[type] = field(default_factory=list[type])
    """Classes with `@workflow.defn`."""
    activities: list[Callable[..., Any]] = field(default_factory=list[Callable[..., Any]])
    """Functions with `@activity.defn`."""

    @property
    def names(self) -> list[str]:
        """The workflow types that they are."""
        by_hand = [vars(each)["__temporal_workflow_definition"].name for each in self.workflows]
        return [each.name for each in self.pipelines] + by_hand

    def add(self, module: ModuleType) -> None:
        """Add what `module` defines or imports."""
        for value in map(as_definition, vars(module).values()):
            for kind, fits in ((self.pipelines, _pipeline), (self.workflows, _workflow),
                               (self.activities, _activity)):  # fmt: skip
                if fits(value) and not any(value is each for each in kind):
                    kind.append(value)  # pyright: ignore[reportArgumentType]


def contents_of(names: Iterable[str]) -> Contents:
    """Return what these modules define; they are looked for from the current folder, too.

    Raises:
        Usage: a module that is not there, cannot be imported, or defines nothing to serve.
    """
    look_here()
    found = Contents()
    for name in names:
        before = len(found.names)
        module = _imported(name)
        found.add(module)
        if len(found.names) == before and not any(_serves(each) for each in vars(module).values()):
            raise Usage(
                f"module {name!r} has no Workflow(...) and no @workflow.defn class at its top"
                f" level{_below(module)}"
            )
    return found


def look_here() -> None:
    """Let modules be imported from the current folder, as `python -m` does."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())


def _imported(name: str) -> ModuleType:
    if name.endswith(".py") or os.sep in name:
        dotted = name.removesuffix(".py").replace(os.sep, ".").strip(".")
        raise Usage(f"name a module, not a file: {dotted}")
    try:
        if not _exists(name):
            raise Usage(f"there is no module {name!r} in {os.getcwd()} or installed")
        return import_module(name)
    except Usage:
        raise
    except (Exception, SystemExit) as error:
        raise Usage(f"module {name!r} cannot be imported: {_where(error)}") from error


def _exists(name: str) -> bool:
    parent, _, _ = name.rpartition(".")
    if parent and not _exists(parent):
        return False
    if parent and not hasattr(import_module(parent), "__path__"):
        return False
    return find_spec(name) is not None


def _where(error: BaseException) -> str:
    # The last line that is not of the import machinery says where the mistake is.
    frames = [
        each
        for each in traceback.extract_tb(error.__traceback__)
        if "importlib" not in each.filename and Path(each.filename) != Path(__file__)
    ]
    told = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    return f"{told} ({frames[-1].filename}:{frames[-1].lineno})" if frames else told


def _below(module: ModuleType) -> str:
    inner = [each.name for each in pkgutil.iter_modules(getattr(module, "__path__", []))]
    named = ", ".join(f"{module.__name__}.{each}" for each in inner)
    return f"; name modules in it: {named}" if named else ""


def _pipeline(value: Any) -> bool:
    return isinstance(as_definition(value), Definition)


def _workflow(value: Any) -> bool:
    return inspect.isclass(value) and "__temporal_workflow_definition" in vars(value)


def _activity(value: Any) -> bool:
    return callable(value) and hasattr(value, "__temporal_activity_definition")


def _serves(value: Any) -> bool:
    return _pipeline(value) or _workflow(value)
