"""Keeps large values in a folder, where Temporal's limit of 2 MB does not reach them.

Each stands under the digest of its bytes, so that what is stored again is one file. Nothing is ever
deleted: runs that wait, and histories that are kept, refer to it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from temporal_hitl.errors import ServerError

KEY = "sha256"


class FolderStorage(StorageDriver):
    """Stores payloads as files; every client and worker must reach the same folder.

    ```python
    converter = dataclasses.replace(
        pydantic_data_converter,
        external_storage=ExternalStorage(drivers=[FolderStorage("/mnt/shared/temporal")]),
    )
    client = await Client.connect(..., data_converter=converter)
    ```
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def name(self) -> str:
        """Return the name that references carry."""
        return "temporal_hitl.folder"

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[Payload]
    ) -> list[StorageDriverClaim]:
        """Write each payload, safely on disk on return, and return where."""
        return await asyncio.to_thread(lambda: [self._write(each) for each in payloads])

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Return what was written; raises `ServerError` where it is gone or has changed."""
        keys = [each.claim_data[KEY] for each in claims]
        return await asyncio.to_thread(lambda: [self._read(key) for key in keys])

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def _write(self, payload: Payload) -> StorageDriverClaim:
        data = payload.SerializeToString(deterministic=True)
        key = hashlib.sha256(data).hexdigest()
        file = self._file(key)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor, fresh = tempfile.mkstemp(dir=file.parent)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(fresh).replace(file)
        return StorageDriverClaim({KEY: key})

    def _read(self, key: str) -> Payload:
        file = self._file(key)
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            data = b""
        if hashlib.sha256(data).hexdigest() != key:
            raise ServerError(
                f"a value that a run refers to is not in {str(file)!r}, or is damaged: bring the"
                " folder back, and the run goes on"
            )
        return Payload.FromString(data)


def converter_with(folder: Path) -> DataConverter:
    """Return the converter of clients whose large values stand in `folder`."""
    storage = ExternalStorage(drivers=[FolderStorage(folder)])
    return dataclasses.replace(pydantic_data_converter, external_storage=storage)
