"""A provider of models for tests: a real HTTP server that speaks OpenAI's chat completions.

It is told beforehand what to say. How far a conversation is stands in the request, as it does for a
real one: a request that is made again is answered as before, whoever makes it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from temporal_hitl.agents import OpenAIChat

KEY = "sk-hitl-0123456789-nobody-may-see-it"
"""The key that its models are called with."""
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
"""What every answered request takes."""
CHUNK = 7
"""Characters of a streamed piece of text."""


@dataclass(frozen=True)
class Says:
    """An answer in words."""

    text: str


@dataclass(frozen=True)
class Calls:
    """An answer that calls tools: each by its name, and its arguments as they are sent."""

    calls: Sequence[tuple[str, dict[str, Any] | str]]


@dataclass(frozen=True)
class Refuses:
    """An HTTP error."""

    status: int
    headers: dict[str, str] = field(default_factory=dict[str, str])
    message: str = "not now"


@dataclass(frozen=True)
class Drops:
    """An answer that breaks off in the middle, with the connection."""


@dataclass(frozen=True)
class Holds:
    """An answer that comes once the test lets it."""

    then: Says | Calls


Reply = Says | Calls | Refuses | Drops | Holds


Script = Sequence[Reply | Sequence[Reply]]


@dataclass
class Provider:
    """What was asked of it, and what it says: `script[n]` once it has said n things already.

    Where several replies stand at one place the first request there gets the first of them, and so
    on; the last stays. After the script it ends the conversation with what its last calls gave.
    """

    script: Script = ()
    scripts: Mapping[str, Script] = field(default_factory=dict[str, Script])
    """The scripts of conversations that begin with these words."""
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The body of each request, in order."""
    times: list[float] = field(default_factory=list[float])
    """When each came."""
    keys: set[str] = field(default_factory=set[str])
    """What the requests were authorized by."""
    hung_up: int = 0
    """How many have not waited for their answer."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    """Lets what is held be answered."""

    def model(self, **more: Any) -> OpenAIChat:
        """Return a model of this provider's."""
        return OpenAIChat(id="scripted", base_url=self.url, api_key=KEY, **more)

    @property
    def places(self) -> list[int]:
        """How far the conversation of each request was: the answers that stood in it."""
        return [_said(body) for body in self.asked]

    def places_of(self, words: str) -> list[int]:
        """The same, of the conversations that began with these words."""
        return [_said(body) for body in self.asked if _begun_with(body) == words]

    def _reply(self, body: dict[str, Any]) -> Reply:
        words, place = _begun_with(body), _said(body)
        script = self.scripts.get(words, self.script)
        if place >= len(script):
            return Says("end: " + " | ".join(_results(body)))
        there = script[place]
        if not isinstance(there, Sequence):
            return there
        return there[min(self.places_of(words).count(place), len(there)) - 1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while body := await self._request(reader):
                reply = self._reply(body)
                if isinstance(reply, Holds):
                    if not await self._let_go(reader):
                        self.hung_up += 1
                        return
                    reply = reply.then
                if not await _answer(writer, reply, body):
                    return
        except ConnectionError:
            self.hung_up += 1
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> dict[str, Any] | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None  # No further request comes by this connection.
        lines = head.decode().split("\r\n")[1:]
        headers = {k.lower(): v.strip() for k, _, v in (e.partition(":") for e in lines) if k}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.keys.add(headers["authorization"])
        self.times.append(time.monotonic())
        self.asked.append(body)
        return body

    async def _let_go(self, reader: asyncio.StreamReader) -> bool:
        """Return whether the caller still waits when its answer is let go."""
        gone = asyncio.create_task(reader.read(1))
        go = asyncio.create_task(self.go.wait())
        await asyncio.wait((gone, go), return_when=asyncio.FIRST_COMPLETED)
        is_there = not gone.done()
        for task in (gone, go):
            task.cancel()
        await asyncio.gather(gone, go, return_exceptions=True)
        return is_there


@asynccontextmanager
async def provider(*script: Reply | Sequence[Reply], **scripts: Script) -> AsyncIterator[Provider]:
    """Serve a provider at a free port for the length of the block."""
    made, connections = Provider(script, scripts), dict[asyncio.Task[Any], asyncio.StreamWriter]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections[task] = writer
        await made.serve(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield made
    finally:
        server.close()
        for writer in connections.values():
            writer.transport.abort()
        await asyncio.gather(*connections)
        await server.wait_closed()


def _said(body: dict[str, Any]) -> int:
    return sum(each["role"] == "assistant" for each in body["messages"])


def _begun_with(body: dict[str, Any]) -> str:
    return next(str(each["content"]) for each in body["messages"] if each["role"] == "user")


def _results(body: dict[str, Any]) -> list[str]:
    last = max(n for n, e in enumerate(body["messages"]) if e["role"] in ("assistant", "user"))
    return [str(each["content"]) for each in body["messages"][last:] if each["role"] == "tool"]


async def _answer(writer: asyncio.StreamWriter, reply: Reply, body: dict[str, Any]) -> bool:
    """Answer, and return whether the connection still stands."""
    match reply:
        case Refuses():
            error = {"error": {"message": reply.message, "type": "refused", "code": None}}
            writer.write(_http(reply.status, json.dumps(error), reply.headers))
        case Drops():
            writer.write(_ok(Says("a sentence that breaks off"), body)[:-300])
            await writer.drain()
            return False
        case Says() | Calls():
            writer.write(_ok(reply, body))
        case Holds():
            raise AssertionError("what is held is answered once it is let go")
    await writer.drain()
    return True


def _ok(reply: Says | Calls, body: dict[str, Any]) -> bytes:
    if not body.get("stream"):
        return _http(200, json.dumps(_completion(reply)))
    text = "".join(f"data: {each}\n\n" for each in _chunks(reply))
    return _http(200, text, {"content-type": "text/event-stream"})


def _http(status: int, text: str, headers: dict[str, str] | None = None) -> bytes:
    data = text.encode()
    said = {"content-type": "application/json", "content-length": str(len(data))} | (headers or {})
    lines = [f"HTTP/1.1 {status} {status}", *(f"{k}: {v}" for k, v in said.items())]
    return "\r\n".join([*lines, "", ""]).encode() + data


def _message(reply: Says | Calls) -> dict[str, Any]:
    if isinstance(reply, Says):
        return {"role": "assistant", "content": reply.text}
    calls = [
        # The same ids in every answer, as some servers have it.
        {"id": f"call_{number}", "type": "function", "function": _function(*each)}
        for number, each in enumerate(reply.calls)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _function(name: str, arguments: dict[str, Any] | str) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"name": name, "arguments": text}


def _why(reply: Says | Calls) -> str:
    return "stop" if isinstance(reply, Says) else "tool_calls"


def _completion(reply: Says | Calls) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": _why(reply), "message": _message(reply)}
    return _of("chat.completion", choices=[choice], usage=USAGE)


def _of(kind: str, **more: Any) -> dict[str, Any]:
    return {"id": "said-1", "object": kind, "created": 1, "model": "scripted", **more}


def _chunks(reply: Says | Calls) -> Iterator[str]:
    """Yield an answer in pieces: text by some letters, a call by its name and its arguments."""
    for delta in _deltas(reply):
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        yield json.dumps(_of("chat.completion.chunk", choices=[choice]))
    last = {"index": 0, "delta": {}, "finish_reason": _why(reply)}
    yield json.dumps(_of("chat.completion.chunk", choices=[last]))
    yield json.dumps(_of("chat.completion.chunk", choices=[], usage=USAGE))
    yield "[DONE]"


def _deltas(reply: Says | Calls) -> Iterator[dict[str, Any]]:
    message = _message(reply)
    if isinstance(reply, Says):
        for begin in range(0, len(reply.text), CHUNK):
            yield {"role": "assistant", "content": reply.text[begin : begin + CHUNK]}
    for number, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        named = {**call, "index": number, "function": {**function, "arguments": ""}}
        yield {"role": "assistant", "tool_calls": [named]}
        rest = {"index": number, "function": {"arguments": function["arguments"]}}
        yield {"tool_calls": [rest]}
