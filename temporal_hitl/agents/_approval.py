"""`@approval`: a tool whose calls certain people approve, or that are on file (seed 003).

A mark on the tool; what it means is in the guard that the tool stands behind, and so in each run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from temporal_hitl._arguments import parse_enum, role_names
from temporal_hitl.agents._tools import Approving, Function, marked
from temporal_hitl.errors import DefinitionError
from temporal_hitl.review import APPROVER, ApprovalType

F = TypeVar("F", bound=Callable[..., Any])


@overload
def approval(function: F, /) -> F: ...
@overload
def approval(
    *,
    type: ApprovalType | str = ApprovalType.required,
    not_requester: bool = False,
    roles: Sequence[str] = (APPROVER,),
) -> Callable[[F], F]: ...
def approval(
    function: Any = None,
    /,
    *,
    type: ApprovalType | str = ApprovalType.required,
    not_requester: bool = False,
    roles: Sequence[str] = (APPROVER,),
) -> Any:
    """Have each call of a tool be an approval: `@approval`, or `@approval(...)`, above `@tool` or
    below it.

    With `required`, only somebody whose answer is signed, and who has one of `roles`, decides; with
    `not_requester`, nobody for whom the run was started (`user_id`) does. A tool that says nothing
    else then asks for confirmation; its deadline is strict, and never approves. With `audit`,
    whoever is asked decides. Either way each call is on file before it is executed.

    Raises:
        DefinitionError: another type, roles that are none, roles of an audit; an audit of a tool
            that asks nobody, a required one with `on_timeout="approve"`.
        TypeError: what is marked cannot be called.
    """
    kind = parse_enum(ApprovalType, type, "@approval: type")
    names = role_names(list(roles), "@approval: roles")
    if kind is ApprovalType.required and not names:
        raise DefinitionError("@approval: roles=[] would let nobody approve; name one")
    if kind is ApprovalType.audit and (not_requester or names != (APPROVER,)):
        raise DefinitionError("@approval(type='audit') asks for no role; use type='required'")
    policy = Approving(kind, names if kind is ApprovalType.required else (), not_requester)

    def mark(function: Any) -> Any:
        if not callable(function):
            raise TypeError(f"@approval marks a function or a tool, and {function!r} is neither")
        if isinstance(function, Function):
            return function.approved_by(policy)
        return marked(function, policy)

    return mark if function is None else mark(function)
