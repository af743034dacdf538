"""What an operator sets, by the environment: `HITL_API_...`; Temporal's own are `TEMPORAL_...`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, ImportString, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter

from temporal_hitl.approvals import FILE, ApprovalsFile
from temporal_hitl.client import TASK_QUEUE
from temporal_hitl.http import Authenticator, BearerTokens, Inbox, LoopbackOnly, is_loopback
from temporal_hitl.signing import KEYS, SigningKeys

__all__ = ["Settings"]


class Settings(BaseSettings):
    """How this service is run."""

    model_config = SettingsConfigDict(
        env_prefix="HITL_API_",
        populate_by_name=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # A key may be among it.
    )

    host: str = "127.0.0.1"
    """The address to listen at."""
    port: int = Field(default=8000, ge=0, le=65535)
    """The port; 0 takes a free one."""
    task_queue: str = TASK_QUEUE
    """Where runs are started."""
    tokens_file: Path | None = None
    """The file of bearer tokens, made with `temporal-hitl token`. Without one only this machine is
    served, and nobody is asked for a name."""
    session_key: SecretStr | None = Field(default=None, min_length=32)
    """Signs the inbox's sessions; the same for all processes that serve it. Without one each
    process has its own, and who has signed in does so again when it is replaced."""
    web_ui: str | None = None
    """The address of the Temporal Web UI, for the inbox's links to runs."""
    graceful_shutdown: int = Field(default=5, ge=0)
    """Seconds that open calls are given when the service stops; event streams never end by
    themselves."""
    data_converter: ImportString[Any] = Field(
        default=pydantic_data_converter, validation_alias="TEMPORAL_HITL_DATA_CONVERTER"
    )
    """MODULE:NAME of the `DataConverter` that the workers have, where payloads are encrypted or
    stored elsewhere; the command line reads the same variable."""

    signing_keys: SecretStr | None = Field(default=None, validation_alias=KEYS)
    """`kid:secret[,kid:secret...]`: signs the answers of callers who have a name, and the workers
    verify them with the same keys. The first one signs."""

    approvals_file: Path | None = Field(default=None, validation_alias=FILE)
    """The file of approvals that the workers write, to be read here; on a volume of both."""

    @field_validator("approvals_file", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        return given or None

    @field_validator("data_converter", mode="before")
    @classmethod
    def _where_one_is_set(cls, given: Any) -> Any:
        return given or pydantic_data_converter

    @field_validator("data_converter")
    @classmethod
    def _converts(cls, given: Any) -> Any:
        if not isinstance(given, DataConverter):
            raise ValueError("it is no temporalio.converter.DataConverter")
        return given

    @model_validator(mode="after")
    def _not_for_everybody(self) -> Self:
        if self.tokens_file is None and not is_loopback(self.host):
            raise ValueError(
                f"without authentication only this machine may be served, and {self.host} is more:"
                " set HITL_API_TOKENS_FILE, or HITL_API_HOST=127.0.0.1"
            )
        return self

    def authenticator(self) -> Authenticator:
        """Return who finds out who calls; raises `DefinitionError` for a file that is none."""
        return LoopbackOnly() if self.tokens_file is None else BearerTokens.read(self.tokens_file)

    def keys(self) -> SigningKeys | None:
        """Return what answers are signed with; raises `OperatorError` for what is none."""
        text = "" if self.signing_keys is None else self.signing_keys.get_secret_value().strip()
        return SigningKeys.parse(text) if text else None

    def approvals(self) -> ApprovalsFile | None:
        """Return where approvals that have closed are read."""
        return None if self.approvals_file is None else ApprovalsFile(self.approvals_file)

    def inbox(self) -> Inbox:
        """Return how the inbox is served."""
        key = None if self.session_key is None else self.session_key.get_secret_value()
        return Inbox(key=key, web_ui=self.web_ui)
