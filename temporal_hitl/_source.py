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
    code = getattr(function, "__code__", None) or getattr(subject.__call__, "__code__", None)
    text = _source_text(subject, code) or _code_text(code)
    return hashlib.sha256(text.encode()).hexdigest()


def _source_text(subject: Any, code: CodeType | None) -> str | None:
    # All that is run by `exec` and by `python -c` shares one file name, and with it one text.
    if code is not None and code.co_filename == "<string>":
        return None
    try:
        return inspect.getsource(subject)
    except (OSError, TypeError):  # Typed at a prompt, or built in.
        return None


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
