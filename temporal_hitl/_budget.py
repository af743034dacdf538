"""What a run holds, against what it may: so that it can always continue as a new execution.

Owns the sentence that a step fails with which would make its run hold too much.
"""

from __future__ import annotations

from temporal_hitl._caller import StepFailed
from temporal_hitl._progress import Progress
from temporal_hitl._scope import State
from temporal_hitl._sizes import BUDGET, TOO_LARGE
from temporal_hitl.workflow import Gate


class Budget:
    """Measures a run; `given` are the bytes of what it was started with, its plan included."""

    def __init__(
        self, gate: Gate, progress: Progress, state: State, given: int, *, unlimited: bool
    ) -> None:
        self._gate = gate
        self._progress = progress
        self._state = state
        self._given = given
        self._unlimited = unlimited

    @property
    def held(self) -> int:
        """How many bytes the run holds."""
        return self._given + self._state.size + self._progress.size + self._gate.size

    def allow(self, path: str, more: int = 0, attempts: int | None = None) -> None:
        """Return where the run may hold `more` bytes; raises `StepFailed` where it may not, after
        so many `attempts`.
        """
        if self._unlimited or (held := self.held + more) <= BUDGET:
            return
        holds = f"with {more:,} bytes of this step's it would hold" if more else "it holds"
        raise StepFailed(
            path,
            TOO_LARGE,
            f"a run may hold {BUDGET:,} bytes, and {holds} {held:,}. Give and return references"
            " (a path, a key) for what is large, or give the client a data converter with"
            " external_storage=ExternalStorage(drivers=[...]): docs/operations.md, 'Sizes'",
            attempts,
        )
