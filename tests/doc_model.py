"""The model of the agents in the docs: a script, chosen by the tools that it is given."""

from __future__ import annotations

import re
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tests.agents import heard, scripted

ASKED = {
    "questions": [
        {
            "question": "How shall we tell them?",
            "options": [{"label": "by mail"}, {"label": "by phone"}],
        }
    ]
}
MANY: Any = [("ship", {"item": "mower"}), ("ask_user", ASKED), ("close", {"order": "1007"})]
TASK: Any = [("delegate", {"member": "cashier", "task": "Refund order 1007"})]


def came(messages: list[ModelMessage], info: AgentInfo) -> str:
    """Return what tools gave last, or what the model was told."""
    return heard(messages).partition("; A person changed")[0]


def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    tools = {each.name for each in info.function_tools}
    prompt = next(p.content for p in messages[0].parts if isinstance(p, UserPromptPart))
    order = next(iter(re.findall(r"\d{4}", str(prompt))), "")
    refund: Any = [("refund", {"order": order, "cents": 41900})]
    look_up: Any = [("look_up", {"order": order})]
    if "credit" in tools:
        turns = [[("credit", {"cents": 500}), *MANY]]
    elif "delegate" in tools:
        turns = [TASK]
    elif "look_up" in tools:
        turns = [look_up, refund]
    else:
        turns = [refund] if "refund" in tools else []
    model = scripted(*turns, came).function
    assert model is not None
    said: Any = model(messages, info)
    return said


def model_of_docs() -> FunctionModel:
    """Return the model."""
    return FunctionModel(respond, model_name="docs")
