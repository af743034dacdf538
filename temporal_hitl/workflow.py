"""What may be used inside a Temporal workflow: the gate, the only thing here that waits for a
person.

Owns when a question is asked, waited for and closed; opens the doors into a run (updates, signals,
queries) and shows what is open from outside. Knows nothing of plans or pipelines;
any hand-written `@workflow.defn` may use it:

```python
from temporal_hitl import workflow as hitl

@workflow.defn
class Refund:
    @workflow.init
    def __init__(self, order: Order) -> None:
        self.gate = hitl.Gate()

    @workflow.run
    async def run(self, order: Order) -> str:
        answer = await self.gate.confirm(f"Refund {order.amount} EUR?", timeout=timedelta(days=3))
        return "refunded" if answer.approved else "kept"
```

Give its worker `HitlPlugin()` too, or import with `workflow.unsafe.imports_passed_through()`:
otherwise the sandbox imports the library anew for each run, which works and costs 0.2 s.
"""

# temporalio's own signatures hold bare Callables and TypeVars.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, NoReturn, TypedDict, TypeVar, Unpack

from pydantic import BaseModel, TypeAdapter
from temporalio import workflow

from temporal_hitl._arguments import Seconds, as_seconds, parse_enum, role_names
from temporal_hitl._board import BLOCKED_KEY, MEMO_KEY, Board
from temporal_hitl._doors import Doors, as_failure
from temporal_hitl._forms import Form, FormLike
from temporal_hitl._ledger import RECORDS_KEPT, GateState, Ledger
from temporal_hitl._notices import Notices
from temporal_hitl._subscribers import subscribers
from temporal_hitl.errors import DefinitionError
from temporal_hitl.requirements import (
    AnyRequirement,
    Confirmation,
    OutputReview,
    Refusal,
    Requirement,
    ResolutionRecord,
    Route,
    UserInput,
    slug,
)
from temporal_hitl.review import ApprovalType, OnReject, OnTimeout, check_before

__all__ = ["BLOCKED_KEY", "MEMO_KEY", "Deadline", "Gate", "Policy"]

_JSON: TypeAdapter[Any] = TypeAdapter(Any)
R = TypeVar("R")


class Deadline(TypedDict, total=False):
    """When a question is no longer open, and what happens then."""

    timeout: Seconds
    """Seconds, or a timedelta, from now; a question without waits for ever."""
    on_timeout: OnTimeout | str
    """What the deadline does; `cancel` unless said otherwise."""
    strict_deadline: bool
    """Whether an affirmative answer that is read after the deadline is refused."""


class Policy(Deadline, total=False):
    """Until when a question is open, who may answer it, and who is told of it."""

    roles: Sequence[str]
    """Who may, where not everybody may; only answers that are signed count then. Needs the worker
    to have `HitlPlugin`."""
    notify: Sequence[str]
    """Who is told when it opens, is about to be late, and is closed: names of subscribers, which
    the worker's environment knows. Those of the gate unless given."""
    notify_before: Seconds
    """How long before the deadline it is about to be late."""


class Asking(Policy, total=False):
    """What else a question may have."""

    path: str
    """Where in a tree it is asked; made from the name unless given."""
    on_reject: OnReject | None
    """What a rejection does, where the library acts on it."""
    excludes: Sequence[str]
    """Who may not answer it, by the name that a signature says."""
    approval: ApprovalType | None
    """Which approval it is."""
    template: str | None
    """The question before it was filled in, where that alone may be seen in lists."""
    check: type[BaseModel]
    """The model of the values that it asks for."""
    shown: Mapping[str, Any]
    """The fields of its kind."""


class Gate:
    """Opens requirements, and waits for each until exactly one decision closes it.

    Construct it once, in the workflow's `__init__` under `@workflow.init`, so that its handlers are
    there before the first message. With `search_attributes` it also writes `HitlStatus` and
    `HitlTags`, which the namespace must have: a worker with `HitlPlugin(workflows=[...])` sees to
    that, and so does `temporal operator search-attribute create`. `notify` are the names of those
    who are told of what it asks; their worker has `HitlPlugin()`.

    Raises:
        ApplicationError: the class has a handler of one of our names already; the run fails and
        says so.
    """

    def __init__(self, *, search_attributes: bool = False, notify: Sequence[str] = ()) -> None:
        self._ledger = Ledger()
        self.notify = _author(lambda: subscribers(notify, "Gate: notify"))
        """Who is told of a question that does not say it itself."""
        self.board = Board(self._ledger, search_attributes=search_attributes)
        """What is shown of it from outside."""
        self.notices = Notices(self.board.note)
        """What those are told."""
        self._ledger.has_closed.append(self.notices.closed)
        self._closed: dict[str, asyncio.Future[None]] = {}
        self._doors = Doors(self._ledger, self._changed, self.board.show_details)
        self._doors.open()

    # What authors call

    async def confirm(
        self, message: str, *, name: str = "confirmation", **options: Unpack[Policy]
    ) -> ResolutionRecord:
        """Ask whether to go ahead, and return the record: `.approved`, `.timed_out`, ...

        The deadline never raises: it is on the record, and `.approved` says what `on_timeout` makes
        of it. `message` reaches the memo, and with it the visibility store: leave secrets out.
        """
        return await self.ask(Confirmation, name=name, message=message, **options)

    async def user_input(
        self,
        message: str,
        form: FormLike,
        *,
        name: str = "user_input",
        **options: Unpack[Policy],
    ) -> ResolutionRecord:
        """Ask for the values of a form: a model, a list of fields, or a JSON schema; `.values` fit
        it.

        `on_timeout="approve"` is refused where the form has required fields: nobody has filled them
        in.
        """
        asked = _author(lambda: Form.of(form, name))
        if _policy(name, options) is OnTimeout.approve and asked.required:
            needed = ", ".join(asked.required)
            _refuse_author(f"{name}: on_timeout='approve' cannot fill in {needed}")
        asking = Asking(**options, shown={"form": asked.schema, "fields": asked.fields})
        if isinstance(form, type):
            asking["check"] = form
        return await self.ask(UserInput, name=name, message=message, **asking)

    async def route(
        self,
        message: str,
        choices: Sequence[str],
        *,
        allow_multiple: bool = False,
        name: str = "route",
        **options: Unpack[Policy],
    ) -> ResolutionRecord:
        """Ask which of `choices` to take, one or with `allow_multiple` several; see `.choices`."""
        if not choices or len(set(choices)) < len(choices):
            _refuse_author(
                f"{name}: {list(choices)!r} are no choices; give different names, at least one"
            )
        if _policy(name, options) is OnTimeout.approve:
            _refuse_author(f"{name}: on_timeout='approve' cannot choose; use 'skip' or 'cancel'")
        shown = {"choices": tuple(choices), "allow_multiple": allow_multiple}
        return await self.ask(Route, name=name, message=message, shown=shown, **options)

    async def output_review(
        self,
        message: str,
        output: Any,
        *,
        name: str = "output_review",
        **options: Unpack[Policy],
    ) -> ResolutionRecord:
        """Ask whether to keep `output`; edited, `.action` is `edit` and `.output` the new one.

        Where it was rejected, `.approved` is False and `.feedback` says what to do better.
        """
        shown = {"output": _JSON.dump_python(output, mode="json")}
        return await self.ask(OutputReview, name=name, message=message, shown=shown, **options)

    # What the interpreter uses too

    @property
    def open(self) -> list[AnyRequirement]:
        """What is open, oldest first."""
        return list(self._ledger.open.values())

    @property
    def told(self) -> list[AnyRequirement]:
        """What is open, with what `tell_beside` adds."""
        return self._ledger.told

    def tell_beside(self, beside: Callable[[AnyRequirement], AnyRequirement]) -> None:
        """Have who asks for what is open be told what `beside` makes of each."""
        self._ledger.beside = beside

    def tell_closed(self, closed: Callable[[AnyRequirement, ResolutionRecord], None]) -> None:
        """Have `closed` be told of each requirement as it closes."""
        self._ledger.has_closed.append(closed)

    @property
    def records(self) -> list[ResolutionRecord]:
        """What was decided, in order."""
        return list(self._ledger.records.values())

    @property
    def refused(self) -> list[Refusal]:
        """The latest answers that were refused, with nobody to tell: by signal, or by a reset; and
        those whose signature does not hold.
        """
        return list(self._ledger.refusals)

    @property
    def size(self) -> int:
        """How many bytes the open requirements have."""
        return self._ledger.size

    def state(
        self,
        needed: Collection[str] = (),
        records: int = RECORDS_KEPT,
        asking: Collection[str] = (),
    ) -> GateState:
        """Return the gate as data for the next execution, with the latest `records` and those
        `needed`; the paths `asking` may ask again.
        """
        return self._ledger.state(needed, records, asking).model_copy(update=self.board.state())

    def load(self, state: GateState) -> None:
        """Go on where an earlier execution stopped: what is open stays open, under its deadline."""
        self._ledger.load(state)
        self.board.load(state)

    async def ask(
        self, kind: type[Requirement], *, name: str, message: str, **rest: Unpack[Asking]
    ) -> ResolutionRecord:
        """Open a requirement of any kind and wait for the decision that closes it."""
        try:
            record = await self.closed(self.put(kind, name=name, message=message, **rest))
        except asyncio.CancelledError:
            await self.notices.started()
            raise
        # The run may end with this.
        await self.notices.started()
        return record

    def put(
        self, kind: type[Requirement], *, name: str, message: str, **rest: Unpack[Asking]
    ) -> str:
        """Open a requirement of any kind, and return its id; `closed` waits for it."""
        seconds = _author(lambda: as_seconds(rest.get("timeout"), f"{name}: timeout"))
        policy = _policy(name, rest)
        told = _author(lambda: subscribers(rest.get("notify", self.notify), f"{name}: notify"))
        before = _author(lambda: as_seconds(rest.get("notify_before"), f"{name}: notify_before"))
        _author(lambda: check_before(before, seconds, f"{name}: notify_before"))
        place = rest.get("path") or _author(lambda: slug(name))
        key, turn = self._ledger.next_round(place)
        now = workflow.now()
        requirement = kind(
            id=key,
            path=place,
            name=name,
            message=message,
            template=rest.get("template"),
            created_at=now,
            deadline=None if seconds is None else now + timedelta(seconds=seconds),
            on_timeout=None if seconds is None else policy,
            strict_deadline=rest.get("strict_deadline", False),
            on_reject=rest.get("on_reject"),
            round=turn,
            roles=_author(lambda: role_names(rest.get("roles"), f"{name}: roles")),
            excludes=tuple(rest.get("excludes", ())),
            approval=rest.get("approval"),
            notify=told,
            **rest.get("shown", {}),
        ).sealed()
        self._ledger.ask(requirement, rest.get("check"))
        self.notices.opened(requirement, before)
        return key

    async def closed(self, key: str) -> ResolutionRecord:
        """Wait until the requirement `key` is closed, and return how."""
        # A future and a task of our own, not `wait_condition` with a timeout: that is asyncio's
        # `wait_for`, whose turns of the loop differ between Python versions, and with them the
        # order of commands. A run that waits for weeks must replay on the next Python.
        if key in self._ledger.records:
            return self._ledger.records[key]
        closed = self._closed[key] = asyncio.get_running_loop().create_future()
        timer = asyncio.create_task(self._deadline(self._ledger.open[key]))
        self._changed()
        try:
            await closed
            # Another answer to it may still be verified, and would be lost if the run ended now.
            await self.settled()
        except asyncio.CancelledError:
            if key in self._ledger.open:
                self._ledger.withdraw(key, "the run no longer needs it", workflow.now())
                self._changed()
            self._let_go(key, timer)
            await self.settled()
            raise
        self._let_go(key, timer)
        return self._ledger.records[key]

    async def settled(self) -> None:
        """Wait for the answers whose signatures are being verified; there is nothing to wait for
        where none are.
        """
        await self._doors.settled()

    def withdraw_all(self) -> None:
        """Ask nothing more: the run ends."""
        for key in list(self._ledger.open):
            self._ledger.withdraw(key, "the run has ended", workflow.now())
            self._changed()
        self.board.publish()

    def _let_go(self, key: str, timer: asyncio.Task[None]) -> None:
        # Not in a `finally`: a coroutine that is garbage-collected runs those wherever it may be,
        # with commands then going to another run.
        timer.cancel()
        del self._closed[key]
        # Before the run goes on: a command after the one that ends the run would be lost, and would
        # break its replay.
        self.board.publish()

    async def _deadline(self, requirement: AnyRequirement) -> None:
        if requirement.deadline is None:
            return
        left = max(requirement.deadline - workflow.now(), timedelta())
        await workflow.sleep(left, summary=requirement.id)
        # An answer that came in one task with the timer was handled first, and has closed it; or
        # will, where its signature is still being verified.
        await self.settled()
        if requirement.id in self._ledger.open:
            self._ledger.time_out(requirement.id, workflow.now())
            self._changed()

    def _changed(self) -> None:
        for key, closed in self._closed.items():
            if key in self._ledger.records and not closed.done():
                closed.set_result(None)
        self.board.changed()


def _policy(name: str, deadline: Deadline) -> OnTimeout:
    given = deadline.get("on_timeout", OnTimeout.cancel)
    return _author(lambda: parse_enum(OnTimeout, given, f"{name}: on_timeout"))


def _author(act: Callable[[], R]) -> R:
    try:
        return act()
    except DefinitionError as error:
        _refuse_author(str(error))


def _refuse_author(message: str) -> NoReturn:
    raise as_failure(DefinitionError(message))
