"""What one of the author's functions is: name, digest of its source, sync or async."""

from __future__ import annotations

import functools
import hashlib
import inspect
from types import CodeType
from typing import Any, cast


def _whole(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = cast(Any, function).func
    return function


def source_digest(function: Any) -> str:
    """Return a digest of a function's source text, or of its code where there is no text."""
    function = inspect.unwrap(_whole(function))
    subject = cast(Any, function if inspect.isroutine(function) else type(function))
    try:
        return hashlib.sha256(inspect.getsource(subject).encode()).hexdigest()
    except (OSError, TypeError):
        code = getattr(function, "__code__", None) or getattr(
            type(function).__call__, "__code__", None
        )
        return hashlib.sha256(_code_text(code).encode()).hexdigest()


def _code_text(code: CodeType | None) -> str:
    if code is None:
        return "built in"
    constants = [
        _code_text(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts
    ]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def is_async(function: Any) -> bool:
    """Return whether calling `function` gives a coroutine."""
    function = _whole(function)
    if inspect.iscoroutinefunction(function):
        return True
    # An object with a call method: B004 is about asking whether there is one.
    return inspect.iscoroutinefunction(getattr(cast(Any, type(function)), "__call__", None))  # noqa: B004


def qualified_name(function: Any) -> str:
    """Return where `function` is defined: `activities.data_release.redact`."""
    function = _whole(function)
    subject = cast(Any, function if hasattr(function, "__qualname__") else type(function))
    return f"{subject.__module__}.{subject.__qualname__}"
