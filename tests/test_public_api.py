"""What a user may import from `temporal_hitl`, and rely on."""

import ast
from pathlib import Path

import temporal_hitl

INIT = Path(temporal_hitl.__file__)


def imported_names() -> set[str]:
    """The public names that `__init__` imports from us, also those for type checkers only."""
    return {
        name
        for node in ast.walk(ast.parse(INIT.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("temporal_hitl")
        for name in (alias.asname or alias.name for alias in node.names)
        if not name.startswith("_")
    }


def test_all_is_sorted() -> None:
    """The public names are listed once each, in the order that a reader looks them up in."""
    assert temporal_hitl.__all__ == sorted(set(temporal_hitl.__all__))


def test_all_is_complete() -> None:
    """What `__init__` imports for users is in `__all__`, so that nothing is public by accident."""
    assert imported_names() <= set(temporal_hitl.__all__)


def test_all_can_be_imported() -> None:
    """Every name in `__all__` is there, lazily loaded ones included."""
    missing = [name for name in temporal_hitl.__all__ if not hasattr(temporal_hitl, name)]
    assert missing == []
