"""A script in the place of a language model, for machines where none is configured.

It reads the conversation, as a model does: what the customer wants by a few words, what tools have
said by their results. It says that it is a script, in every answer and on standard error.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

SAYS_SO = "[A script answers, no language model: HITL_MODEL names none.]"
ORDER = re.compile(r"\b1\d{3}\b")
CUSTOMER = re.compile(r"\bC-\d{3}\b")
AMOUNT = re.compile(r"(\d+)(?:[.,](\d\d))? *(?:EUR|euros?|€)", re.IGNORECASE)
GOODWILL = 1000
"""Cents, where nobody names an amount."""


@dataclass
class Heard:
    """What a conversation has come to."""

    wish: str = ""
    """All that the customer has said."""
    called: dict[str, list[ToolCallPart]] = field(default_factory=dict[str, list[ToolCallPart]])
    results: dict[str, ToolReturnPart] = field(default_factory=dict[str, ToolReturnPart])
    """By the id of the call."""

    @classmethod
    def of(cls, messages: Sequence[ModelMessage]) -> "Heard":
        """Return what these messages say."""
        heard = cls()
        for part in (part for message in messages for part in message.parts):
            match part:
                case UserPromptPart(content=str(text)):
                    heard.wish += f"{text}\n"
                case ToolCallPart():
                    heard.called.setdefault(part.tool_name, []).append(part)
                case ToolReturnPart():
                    heard.results[part.tool_call_id] = part
                case _:
                    pass
        return heard

    def wants(self, *words: str) -> bool:
        """Return whether the customer uses one of these words."""
        return any(word in self.wish.lower() for word in words)

    def found(self, tool: str) -> list[Any]:
        """Return what calls of a tool gave, those left out that came to nothing."""
        told = [self.results.get(each.tool_call_id) for each in self.called.get(tool, ())]
        return [each.content for each in told if each is not None and each.outcome == "success"]


Call = tuple[str, dict[str, Any]]


def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Return what a support agent would say next."""
    heard = Heard.of(messages)
    if not heard.called:
        print(f"support_desk: {SAYS_SO}", file=sys.stderr)
    calls = list(_looks(heard)) or list(_questions(heard)) or list(_deeds(heard))
    if not calls:
        return ModelResponse([TextPart(_answer(heard))])
    made = sum(map(len, heard.called.values()))
    return ModelResponse(
        [ToolCallPart(*call, f"call-{made + number}") for number, call in enumerate(calls, 1)]
    )


def _looks(heard: Heard) -> Iterator[Call]:
    seen = {each.args_as_dict()["number"] for each in heard.called.get("look_up_order", ())}
    for number in dict.fromkeys(ORDER.findall(heard.wish)):
        if number not in seen:
            yield "look_up_order", {"number": number}


def _questions(heard: Heard) -> Iterator[Call]:
    if heard.called.keys() & {"ask_user", "refund_order"}:
        return
    for order in _to_refund(heard):
        options = [
            {"label": "card", "description": "the way it was paid"},
            {"label": "voucher", "description": "for the shop, at once"},
        ]
        question = f"How should {order['cents'] / 100:.2f} EUR for {order['item']} be paid back?"
        asked = {"question": question, "header": "Refund", "options": options}
        yield "ask_user", {"questions": [asked]}
        return


def _deeds(heard: Heard) -> Iterator[Call]:
    if "refund_order" not in heard.called:
        answers = [value for each in heard.found("ask_user") for value in each.values()]
        for order in _to_refund(heard) if answers else ():
            what = {"number": order["number"], "cents": order["cents"], "paid_to": answers[0]}
            yield "refund_order", {**what, "reason": _reason(heard)}
    customer = _customer(heard)
    if customer is None:
        return
    if heard.wants("goodwill", "compensat") and "grant_goodwill" not in heard.called:
        yield "grant_goodwill", {"customer": customer, "cents": _amount(heard)}
    if heard.wants("delete", "close my account") and "delete_account" not in heard.called:
        yield "delete_account", {"customer": customer, "reason": "the customer wishes it"}


def _to_refund(heard: Heard) -> list[Any]:
    orders = heard.found("look_up_order") if heard.wants("refund", "money back") else []
    return [each for each in orders if not each["refunded_cents"]]


def _customer(heard: Heard) -> str | None:
    named = CUSTOMER.findall(heard.wish)
    return next(iter([*named, *(each["customer"] for each in heard.found("look_up_order"))]), None)


def _amount(heard: Heard) -> int:
    found = AMOUNT.search(heard.wish)
    return GOODWILL if found is None else int(found[1]) * 100 + int(found[2] or 0)


def _reason(heard: Heard) -> str:
    reasons = [each for each in ("damaged", "late", "wrong") if heard.wants(each)]
    return reasons[0] if reasons else "the customer wishes it"


def _answer(heard: Heard) -> str:
    told = [SAYS_SO, *(_line(heard, call) for each in heard.called.values() for call in each)]
    if not heard.called:
        told.append("Name an order (1007, say) and what you want: a refund, or your account gone.")
    return "\n".join(told)


def _line(heard: Heard, call: ToolCallPart) -> str:
    result = heard.results.get(call.tool_call_id)
    if result is None:
        return f"- {call.tool_name}: nothing came of it"
    said = result.model_response_str()
    return f"- {call.tool_name}: {said}" + ("" if result.outcome == "success" else " (not done)")


def scripted_model() -> FunctionModel:
    """Return the script as a model."""
    return FunctionModel(respond, model_name="scripted")
