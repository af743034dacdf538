"""What is kept beside the state of an embedded server: keys that the library makes for it, and the
approvals of its runs.

So that a developer can sign on the machine that the runs are on, and nothing is to be set up first.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from temporal_hitl.approvals import ApprovalsFile
from temporal_hitl.errors import OperatorError
from temporal_hitl.signing import SigningKeys

KID = "embedded"


@dataclass
class Beside:
    """The files of one embedded server; `keys_file` is None where its state is in memory."""

    keys_file: Path | None
    approvals_file: Path
    _keys: SigningKeys | None = field(default=None, init=False, repr=False)

    def keys(self) -> SigningKeys | None:
        """Return the keys, which are made when they are first needed; None where PyJWT is missing.

        Raises:
            OperatorError: the file holds something else, or cannot be read.
        """
        if self._keys is None:
            self._keys = self._found()
        return self._keys

    def _found(self) -> SigningKeys | None:
        try:
            import jwt  # noqa: F401  # pyright: ignore[reportUnusedImport]
        except ImportError:
            return None
        fresh = f"{KID}:{secrets.token_urlsafe(48)}"
        if self.keys_file is None:
            return SigningKeys.parse(fresh)
        try:
            return SigningKeys.parse(_kept(self.keys_file, fresh))
        except OSError as error:
            raise OperatorError(f"the keys in {str(self.keys_file)!r}: {error}") from error

    def approvals(self) -> ApprovalsFile:
        """Return the file of approvals, where the environment names no other."""
        return ApprovalsFile.from_environment() or ApprovalsFile(self.approvals_file)


def _kept(file: Path, fresh: str) -> str:
    """Return what a file holds, which is `fresh` where nobody has made it; whole, or not at all."""
    if not file.exists():
        draft = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, fresh.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):  # Another process was first.
            os.link(draft, file)
        draft.unlink()
    return file.read_text().strip()
