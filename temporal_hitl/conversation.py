"""What an agent, its user and its tools have said to each other, as people read it.

An adapter's messages are data that a run keeps and hands out as they are. Those of pydantic-ai are
read here by their JSON alone, as who shows a conversation needs neither the framework nor a worker;
those of another adapter are read where they have the shape of `Said`. What is neither is shown as
JSON. Pure.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

__all__ = ["CallSaid", "Conversation", "ResultSaid", "Said", "said_of"]

Role = Literal["user", "agent", "tool", "system", "other"]


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class CallSaid(_Shown):
    """A tool that the agent called, or wants to call."""

    call_id: str | None = None
    tool: str
    arguments: JsonValue = None
    """As the agent gave them; text, where they are no JSON."""


class ResultSaid(_Shown):
    """What the agent was told of a call."""

    call_id: str | None = None
    tool: str | None = None
    outcome: str = "success"
    """`success`, `denied`, `failed`, `retried` (the agent is to call it in another way) or what
    else its framework says."""
    result: JsonValue = None


class Said(_Shown):
    """One thing that was said."""

    role: Role
    """`user`, `agent`, `tool` (results), `system` (instructions); `other` for what only the adapter
    can read, which is in `raw`."""
    text: str = ""
    calls: list[CallSaid] = []
    """The tools that an agent calls with it."""
    results: list[ResultSaid] = []
    raw: JsonValue = None


class Conversation(_Shown):
    """A conversation so far, up to the end of the agent's last turn."""

    run_id: str
    path: str
    """The agent's: of its step, and for a member of a team below it."""
    messages: list[Said] = []


def said_of(messages: Sequence[Any], *, all: bool = False) -> list[Said]:
    """Return what `messages` say, in order.

    Without `all`, only what was said: no instructions, no thinking, and nothing of how the
    framework steers its model.
    """
    said: list[Said] = []
    instructions: Any = None
    for message in messages:
        if not _is_of_pydantic_ai(message):
            said.append(_other(message))
            continue
        now = message.get("instructions")
        if now and now != instructions:
            # Each request repeats them.
            instructions = now
            said.append(Said(role="system", text=_text(now)))
        said += _request(message) if message["kind"] == "request" else _response(message)
    return said if all else [each for each in said if not _is_hidden(each)]


def _is_of_pydantic_ai(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    found = cast("dict[str, Any]", message)
    parts: Any = found.get("parts")
    has_kinds = isinstance(parts, list) and all(
        isinstance(each, dict) and isinstance(each.get("part_kind"), str)  # pyright: ignore[reportUnknownMemberType]
        for each in cast("list[Any]", parts)
    )
    return has_kinds and found.get("kind") in ("request", "response")


def _other(message: Any) -> Said:
    try:
        return Said.model_validate(message)
    except ValidationError:
        return Said(role="other", raw=message)


def _is_hidden(said: Said) -> bool:
    raw = said.raw
    steers = isinstance(raw, dict) and _STEERING & {str(raw.get("part_kind"))}
    return said.role == "system" or bool(steers)


_STEERING = {
    "thinking",
    "retry-feedback",
    "instruction-baseline",
    "instruction-delta",
    "tool-availability-delta",
    "capability-load-delta",
    "model-settings-delta",
}


def _request(message: Mapping[str, Any]) -> Iterator[Said]:
    # What stands beside results is a tool's, or said of one: that a person changed its arguments.
    answers = any(part["part_kind"] == "tool-return" for part in message["parts"])
    for part in message["parts"]:
        match part["part_kind"]:
            case "system-prompt":
                yield Said(role="system", text=_text(part.get("content")))
            case "user-prompt":
                yield Said(role="tool" if answers else "user", text=_text(part.get("content")))
            case "tool-return" | "builtin-tool-return":
                yield Said(role="tool", results=[_result(part, part.get("outcome") or "success")])
            case "retry-prompt" if part.get("tool_name"):
                yield Said(role="tool", results=[_result(part, "retried")])
            case _:
                yield Said(role="other", raw=part)


def _response(message: Mapping[str, Any]) -> Iterator[Said]:
    texts: list[str] = []
    calls: list[CallSaid] = []
    others: list[Said] = []
    for part in message["parts"]:
        match part["part_kind"]:
            case "text":
                texts.append(_text(part.get("content")))
            case "tool-call" | "builtin-tool-call":
                calls.append(_call(part))
            case "builtin-tool-return":
                others.append(Said(role="tool", results=[_result(part, "success")]))
            case _:
                others.append(Said(role="other", raw=part))
    if texts or calls:
        yield Said(role="agent", text="\n".join(texts), calls=calls)
    yield from others


def _call(part: Mapping[str, Any]) -> CallSaid:
    arguments = part.get("args")
    if isinstance(arguments, str):
        # A model may say what is no JSON, and is told so.
        with contextlib.suppress(ValueError):
            arguments = json.loads(arguments)
    return CallSaid(
        call_id=_name(part, "tool_call_id"),
        tool=_name(part, "tool_name") or "?",
        arguments=arguments,
    )


def _result(part: Mapping[str, Any], outcome: Any) -> ResultSaid:
    return ResultSaid(
        call_id=_name(part, "tool_call_id"),
        tool=_name(part, "tool_name"),
        outcome=str(outcome),
        result=part.get("content"),
    )


def _name(part: Mapping[str, Any], name: str) -> str | None:
    value = part.get(name)
    return value if isinstance(value, str) else None


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_text(each) for each in cast("list[Any]", content))
    if not isinstance(content, dict):
        return "" if content is None else str(content)
    # A picture, a document: named, not shown.
    found = cast("dict[str, Any]", content)
    if isinstance(found.get("content"), str):
        return found["content"]
    named = (found.get("kind"), found.get("media_type"), found.get("url"))
    return f"[{' '.join(str(each) for each in named if each)}]"
