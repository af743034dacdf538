"""The reviewer of a demo without a terminal: answers by a script, and says each answer."""

from collections.abc import Callable, Mapping
from typing import Any

from temporal_hitl.drafts import AnyDraft

NAME = "scripted reviewer"

Script = Mapping[str, tuple[str, Callable[[Any], None]]]
"""By a requirement's id, what is said, and the draft's method that says it."""


class GivesUp(Exception):
    """The script has no answer to this."""


class Scripted:
    """Answers what its script knows, under its own name; raises `GivesUp` for anything else."""

    def __init__(self, script: Script) -> None:
        self._script = script
        print(f"{NAME}: there is no terminal, so I answer")

    def answer(self, draft: AnyDraft) -> None:
        """Fill in one draft."""
        print(f"\nWaits for a person: {draft.message}  [{draft.id}]")
        if draft.id not in self._script:
            print(f"{NAME}: nobody told me what to answer to this, so I stop the run")
            raise GivesUp(draft.id)
        said, decide = self._script[draft.id]
        print(f"{NAME}: {said}", flush=True)
        draft.resolved_by, draft.comment = NAME, said
        decide(draft)
