"""The doors into a run: its updates, signals and query, all ending in the one ledger.

Owns the handlers' names and the care that Temporal asks of them: a typed handler that is called
with no or two inputs wedges a run for ever, and so does one that raises anything but an
`ApplicationError`.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from temporal_hitl import _details
from temporal_hitl._ledger import Ledger
from temporal_hitl._verifying import Verifier
from temporal_hitl.errors import (
    DefinitionError,
    HitlError,
    MalformedResolution,
    ResolutionError,
    to_wire,
    wire_type,
)
from temporal_hitl.requirements import Door
from temporal_hitl.signing import Signed

DOORS = ("resolve", "confirm", "reject")
REQUIREMENTS = "requirements"

R = TypeVar("R")


class Doors:
    """Lets resolutions into `ledger`; tells what counted and what did not."""

    def __init__(
        self, ledger: Ledger, closed: Callable[[], None], refused: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._closed = closed
        self._refused = refused
        self._verifier = Verifier()

    def open(self) -> None:
        """Register the handlers; fails the run where its class has one of their names."""
        taken = [
            door
            for door in DOORS
            if workflow.get_update_handler(door) or workflow.get_signal_handler(door)
        ]
        taken += [REQUIREMENTS] if workflow.get_query_handler(REQUIREMENTS) else []
        if taken:
            raise as_failure(
                DefinitionError(
                    f"{workflow.info().workflow_type} has a handler named {taken[0]!r} already,"
                    " which the gate needs; rename it (and construct one gate only)"
                )
            )
        for door in DOORS:
            workflow.set_update_handler(
                door, self._on_update(door), validator=self._validator(door)
            )
            workflow.set_signal_handler(door, self._on_signal(door))
        workflow.set_query_handler(REQUIREMENTS, self._on_query)

    async def settled(self) -> None:
        """Wait for the answers whose signatures are being verified, not for any that come later."""
        await self._verifier.settled()

    def _on_update(self, door: str) -> Callable[..., Any]:
        async def handle(*args: Any) -> Any:
            try:
                return await self._answer(door, args, Door.update)
            except ResolutionError as error:
                raise _refusal(error) from None

        return handle

    def _validator(self, door: str) -> Callable[..., None]:
        def validate(*args: Any) -> None:
            if not _was_reset():
                over_wire(lambda: self._ledger.check(self._read(door, args)[0], workflow.now()))

        return validate

    def _on_signal(self, door: str) -> Callable[..., Any]:
        async def handle(*args: Any) -> None:
            # A signal handler that raises fails the run, or wedges it for ever.
            with contextlib.suppress(ResolutionError):
                await self._answer(door, args, Door.signal)

        return handle

    def _on_query(self, *args: Any) -> dict[str, Any]:
        ledger = self._ledger
        told = {
            "open": [each.model_dump(mode="json") for each in ledger.told],
            "refused": [each.model_dump(mode="json") for each in ledger.refusals],
        }
        if args and args[0]:
            told["resolved"] = [each.model_dump(mode="json") for each in ledger.records.values()]
        return told

    async def _answer(self, door: str, args: Sequence[Any], by: Door) -> Any:
        try:
            return await self._decide(door, args, by)
        except ResolutionError as refused:
            reason = refused
        except Exception as error:
            reason = MalformedResolution(f"cannot be read: {error!r}")
        self._ledger.refuse(door, args, reason, workflow.now())
        self._refused()
        raise reason

    async def _decide(self, door: str, args: Sequence[Any], by: Door) -> Any:
        data, several = self._read(door, args)
        now = workflow.now()
        # Only what is signed is waited for: all else is decided where it arrives, and a signed
        # answer is checked once more afterwards, as another may have come first.
        signed = await self._verified(data, now) if any(map(_is_signed, data)) else {}
        open_before = len(self._ledger.open)
        records = self._ledger.decide(data, by, now, signed)
        if len(self._ledger.open) < open_before:
            self._closed()
        told = [record.model_dump(mode="json") for record in records]
        return told if several else told[0]

    async def _verified(self, data: Sequence[Any], now: datetime) -> dict[str, Signed]:
        signed = self._ledger.to_verify(self._ledger.check(data, now))
        found = await self._verifier.verify(signed) if signed else []
        return {each.requirement_id: who for each, who in zip(signed, found, strict=True)}

    def _read(self, door: str, args: Sequence[Any]) -> tuple[list[Any], bool]:
        if door != "resolve":
            info = workflow.info()
            paste = [_details.command(info, door, key) for key in list(self._ledger.open)[:5]]
            return [self._ledger.shorthand(door, args, paste)], False
        if len(args) != 1:
            raise MalformedResolution(
                f"'resolve' takes one resolution, or one list of them; it got {len(args)} inputs."
                ' Write {"requirement_id": "...", "action": "confirm"}'
            )
        if isinstance(args[0], list):
            return cast(list[Any], args[0]), True
        return [args[0]], False


def _was_reset() -> bool:
    # A reset delivers the earlier updates once more, and nothing tells them from new ones. The
    # server keeps one that a validator refuses as pending for ever: nobody reads why, its id cannot
    # be used again, and ten of them close the run to updates. So all are let in, and the handler
    # refuses.
    info = workflow.info()
    return info.run_id != info.original_execution_run_id


def over_wire(act: Callable[[], R]) -> R:
    """Return what `act` returns; a refusal of ours becomes the update's, with its record."""
    try:
        return act()
    except ResolutionError as error:
        raise _refusal(error) from None


def _refusal(error: ResolutionError) -> ApplicationError:
    return ApplicationError(str(error), *to_wire(error), type=wire_type(error), non_retryable=True)


def _is_signed(sent: Any) -> bool:
    return isinstance(sent, dict) and cast(dict[str, Any], sent).get("signature") is not None


def as_failure(error: HitlError) -> ApplicationError:
    """Return `error` as what ends a run, instead of failing its task again and again."""
    return ApplicationError(str(error), type=wire_type(error), non_retryable=True)
