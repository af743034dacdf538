"""Reads what another version of this library wrote: runs wait through upgrades, and back again."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


def read(model: type[M], data: Any) -> M:
    """Return `data` as a `model`; fields that this version does not know are left out.

    Everywhere else an unknown field is an author's or a reviewer's mistake, and refused.
    """
    return model.model_validate(data, extra="ignore")
