"""CSV files as checked tables, with a sentence for everything that can be wrong with one."""

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from activities.writing import sha256_of

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Guarantees unique column names, at least one row, and as many values in every row.

    The whole file is in memory, so that `sha256` is the digest of exactly these rows even when
    the file is replaced in the meantime.
    """

    path: str
    columns: Row
    rows: tuple[Row, ...]
    sha256: str
    bytes: int

    def column(self, name: str) -> list[str]:
        """Return the values of the column `name`, in the order of the rows."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a CSV file (UTF-8, commas, a header), or say where and why it cannot be used.

    Raises `FileNotFoundError` or `IsADirectoryError` when there is no file, and `ValueError`
    for everything that is wrong inside it. No message quotes a value of a row: messages end up
    in histories and logs, and the values may be personal.
    """
    content = _read_bytes(path)
    records = _records(_decoded(content, path), path)
    _, header = next(records, (1, ()))
    _check_header(header, path)
    rows = tuple(_checked_row(row, header, path, line) for line, row in records)
    if not rows:
        raise ValueError(
            f"{_shown(path)} has a header and no rows: there is nothing to release; "
            "give a file with at least one row"
        )
    return Table(os.fspath(path), header, rows, sha256_of(content), len(content))


def spread(table: Table, most: int) -> Table:
    """Return the table with at most so many of its rows, taken at even distances."""
    count = len(table.rows)
    places = range(count) if count <= most else [turn * count // most for turn in range(most)]
    return replace(table, rows=tuple(table.rows[place] for place in places))


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no file at {_shown(path)} (looked from {os.getcwd()!r}): "
            "give the path of a CSV file that this worker can read"
        ) from None
    except IsADirectoryError:
        raise IsADirectoryError(
            f"{_shown(path)} is a folder: give the path of one CSV file in it"
        ) from None


def _decoded(content: bytes, path: str | os.PathLike[str]) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{_shown(path)} line {line} is not UTF-8 text: save the file as CSV in UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(
            f"{_shown(path)} line {line} holds a NUL byte, so it is not a CSV file: "
            "export the data as CSV"
        )
    return text


def _records(text: str, path: str | os.PathLike[str]) -> Iterator[tuple[int, Row]]:
    """Yield each record with the line on which it starts."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f"{_shown(path)} line {line} is not CSV ({error}): "
                "put values with quotes, commas or line breaks in quotes, and double their quotes"
            ) from None
        yield line, tuple(record)


def _check_header(header: Row, path: str | os.PathLike[str]) -> None:
    if not any(header):
        raise ValueError(f"{_shown(path)} line 1 is empty: the first line must name the columns")
    for place, name in enumerate(header, start=1):
        if not name.strip():
            raise ValueError(f"{_shown(path)} line 1 has no name for column {place}: name it")
        if name in header[: place - 1]:
            raise ValueError(
                f"{_shown(path)} line 1 names column {place} {name!r} like column "
                f"{header.index(name) + 1}: give every column a name of its own"
            )
    _check_delimiter(header, path)


def _check_delimiter(header: Row, path: str | os.PathLike[str]) -> None:
    for delimiter in ";\t|":
        if len(header) == 1 and delimiter in header[0]:
            raise ValueError(
                f"{_shown(path)} line 1 is separated by {delimiter!r}: save the file with commas"
            )


def _checked_row(row: Row, header: Row, path: str | os.PathLike[str], line: int) -> Row:
    if not row:
        raise ValueError(f"{_shown(path)} line {line} is blank: remove it")
    if len(row) != len(header):
        raise ValueError(
            f"{_shown(path)} line {line} has {len(row)} values for {len(header)} columns: "
            "put values that contain a comma in quotes and leave no value out"
        )
    return row


def _shown(path: str | os.PathLike[str]) -> str:
    return repr(os.fspath(path))
