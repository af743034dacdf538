"""The commands that answer a requirement, as they are typed."""

from __future__ import annotations

import shlex

from temporal_hitl.requirements import AnyRequirement

_OF_ACTION = {
    "confirm": "confirm {}",
    "reject": "reject {} --feedback '...'",
    "answer": "answer {}",
    "select": "select {}",
    "edit": "edit {} --output '...'",
    "retry": "retry {}",
    "skip": "skip {}",
}
"""Actions that agents' tools need are answered over HTTP and by the `temporal` command."""


def commands(asked: AnyRequirement, run_id: str) -> list[str]:
    """Return the words of each command that answers `asked`."""
    place = f"{shlex.quote(run_id)} {shlex.quote(asked.id)}"
    return [words.format(place) for action, words in _OF_ACTION.items() if action in asked.actions]
