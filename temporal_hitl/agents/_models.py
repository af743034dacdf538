"""Which model an agent thinks with: pydantic-ai's own, its name, or the seeds' `OpenAIChat`."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop, get_running_loop
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast
from weakref import WeakKeyDictionary

from pydantic_ai.models import Model, infer_model

from temporal_hitl.errors import DefinitionError, OperatorError

VARIABLE = "HITL_MODEL"
"""Names the model of agents that name none: `openai:gpt-4o-mini`."""


class ModelMissing(OperatorError):
    """An agent has no model, and neither the program nor the environment names one."""


@dataclass(frozen=True)
class OpenAIChat:
    """A model by OpenAI's chat completions, as the seeds write it, or of who speaks the same."""

    id: str = "gpt-4o-mini"
    base_url: str | None = None
    """Where; OpenAI's own unless given."""
    api_key: str | None = field(default=None, repr=False)
    """`OPENAI_API_KEY` unless given. It is never part of a run."""

    def model(self) -> Model:
        """Return it as the framework's own."""
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        provider = OpenAIProvider(base_url=self.base_url, api_key=self.api_key)
        return OpenAIChatModel(self.id, provider=provider)


ModelLike: TypeAlias = Model[Any] | OpenAIChat | str
_default: list[ModelLike] = []
_made = WeakKeyDictionary[AbstractEventLoop, dict[OpenAIChat | str, Model]]()


def use_model(model: ModelLike | None) -> None:
    """Have the agents of this process that name no model think with `model`; None for none."""
    _default[:] = [] if model is None else [checked_model(model, "use_model")]


def checked_model(model: Any, where: str) -> ModelLike:
    """Return `model` where it is one, by its type alone: nothing is connected yet."""
    if isinstance(model, Model | OpenAIChat) or (isinstance(model, str) and model.strip()):
        return cast(ModelLike, model)
    raise DefinitionError(
        f"{where}: {model!r} is no model; give 'openai:gpt-4o-mini', OpenAIChat(id=...) or a"
        " pydantic-ai Model"
    )


def name_of(model: ModelLike | None) -> str:
    """Return what a model is called, of which an agent's digest is made."""
    match model:
        case None:
            return "default"
        case str():
            return model
        case OpenAIChat():
            return f"openai-chat:{model.id}"
        case _:
            return f"{model.system}:{model.model_name}"


def resolved(model: ModelLike | None, agent: str) -> Model:
    """Return the model to think with now.

    Raises:
        ModelMissing: nothing names one.
    """
    if model is None:
        model = next(iter(_default), None) or os.environ.get(VARIABLE)
    if not model:
        raise ModelMissing(
            f"agent {agent!r} has no model: give it model='openai:gpt-4o-mini', or set {VARIABLE}"
            " where its worker runs"
        )
    if isinstance(model, Model):
        return model
    # One connection pool for all turns: a pool of a turn's own is nobody's to close, and the next
    # turn would connect again. Of one loop, as connections are.
    made = _made.setdefault(get_running_loop(), {})
    if model not in made:
        made[model] = model.model() if isinstance(model, OpenAIChat) else infer_model(model)
    return made[model]
