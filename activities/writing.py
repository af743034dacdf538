"""Files that no reader ever sees half written, and CSV that is the same bytes every time."""

import csv
import hashlib
import io
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Return the table as CSV, always the same bytes for the same values."""
    text = io.StringIO(newline="")
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in (columns, *rows):
        # Before Python 3.13 the plain writer leaves a lone carriage return unquoted,
        # which every reader takes for the end of the row.
        writer = quoted if any("\r" in value for value in row) else plain
        writer.writerow(row)
    return text.getvalue().encode()


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Put `content` at `path` at once: a reader sees the old file or the new one, never a part.

    Missing folders are made. The temporary file has a name of its own, so that two executions
    of one step never write into each other's; one that was killed leaves it behind.
    """
    with _beside(Path(path), content) as temporary:
        os.replace(temporary, path)


def write_once(path: str | os.PathLike[str], content: bytes) -> bool:
    """Put `content` at `path` at once unless there is a file, and return whether it did."""
    with _beside(Path(path), content) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


@contextmanager
def _beside(target: Path, content: bytes) -> Generator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(content: bytes) -> str:
    """Return the SHA-256 digest of `content` in hexadecimal, as `sha256sum` prints it."""
    return hashlib.sha256(content).hexdigest()
