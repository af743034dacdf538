"""The steps on files: each reads and writes whole ones and returns what fits in a message."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from activities.data_release.profiling import profile_table
from activities.data_release.records import (
    Check,
    Dataset,
    Depth,
    FileFacts,
    Profile,
    Redaction,
    Release,
    Report,
    Request,
    Treatment,
)
from activities.data_release.redaction import (
    METHODS,
    Method,
    checked_methods,
    default_methods,
    redact_table,
)
from activities.data_release.tables import Table, read_table, spread
from activities.data_release.verification import (
    Leak,
    SinglingOut,
    differences,
    leaks,
    singled_out,
    telling_values,
)
from activities.writing import csv_bytes, sha256_of, write_whole

StrPath = str | os.PathLike[str]

QUICK = 100
"""How many rows, spread evenly over the file, a quick profile looks at."""


def read_request(run_input: object) -> Request:
    """Return the paths that a run's input asks for: a path, or `{"source": ..., "out": ...}`.

    Without `out` the release goes to `released/<name of the file>/`.
    """
    given = {"source": run_input} if isinstance(run_input, str) else run_input
    if not isinstance(given, Mapping):
        raise ValueError(f"the input is {run_input!r}: give the path of a CSV file as text")
    fields = cast("Mapping[object, object]", given)
    source = _text(fields, "source", None)
    out = _text(fields, "out", os.path.join("released", Path(source).stem))
    return Request(source=source, draft=os.path.join(out, "draft", Path(source).name), out=out)


def load(source: StrPath) -> Dataset:
    """Return size, columns and digest of a CSV file, or say where and why it cannot be used."""
    table = read_table(source)
    return Dataset(
        path=table.path,
        rows=len(table.rows),
        columns=list(table.columns),
        sha256=table.sha256,
        bytes=table.bytes,
    )


def profile(source: StrPath, depth: Depth = "deep") -> Profile:
    """Return what each column of a CSV file holds and whether it is personal, without a value.

    A quick profile looks at some rows only, so it may miss what is rare; a deep one looks at all,
    and counts the rows that could still be told apart once what it suggests is done.
    """
    table = read_table(source)
    seen = spread(table, QUICK) if depth == "quick" else table
    columns = profile_table(seen)
    suggested = default_methods(seen, columns)
    return Profile(
        path=table.path,
        sha256=table.sha256,
        rows=len(table.rows),
        depth=depth,
        looked_at=len(seen.rows),
        columns=columns,
        suggested=suggested,
        suggestion=in_words(suggested),
        singled_out=None if depth == "quick" else _singled_out_after(table, suggested),
    )


def in_words(treatments: Mapping[str, Treatment]) -> str:
    """Return which columns are treated how, as one line; what is kept is not told."""
    told = {method: [n for n, each in treatments.items() if each == method] for method in METHODS}
    words = [f"{method} {', '.join(names)}" for method, names in told.items() if names]
    return "; ".join(words) or "nothing is redacted"


def redact(
    source: StrPath,
    target: StrPath,
    methods: Mapping[str, str] | None = None,
    *,
    salt: str | None = None,
    sha256: str | None = None,
) -> Redaction:
    """Write `source` to `target` with columns removed, masked, hashed or shortened to the year.

    `methods` names the method per column and is carried out exactly; without it every column
    that the profile calls personal is removed, and dates keep their year. Personal columns that
    `methods` leaves as they are appear in `personal_kept`. With `sha256`, a source that changed
    since a person looked at its profile is refused. Take `salt` from the worker's environment,
    not from the run's input: a run's input is kept in its history.
    """
    table = _unchanged(source, sha256)
    _check_not_the_source(target, source)
    profiled = profile_table(table)
    chosen = default_methods(table, profiled) if methods is None else methods
    accepted = checked_methods(chosen, table.columns, salt)
    columns, rows = redact_table(table, accepted, salt)
    content = csv_bytes(columns, rows)
    write_whole(target, content)
    return Redaction(
        source=table.path,
        source_sha256=table.sha256,
        path=os.fspath(target),
        sha256=sha256_of(content),
        bytes=len(content),
        rows=len(rows),
        columns={name: accepted.get(name, "keep") for name in table.columns},
        personal_kept=[n for n in table.columns if profiled[n]["personal"] and n not in accepted],
        singled_out=singled_out(read_table(target), accepted),
    )


def release(redaction: Redaction, out: StrPath, note: str = "") -> Release:
    """Publish a redacted draft and its `report.json` in the folder `out`, once it proved clean.

    Both files are read back first. Nothing is published when either changed since `redact`, when
    the draft differs from the source in more than the redacted columns, or when it still holds
    a value of a redacted column that only one row had (see `verification.leaks`).
    """
    source, draft = _both(redaction)
    methods = methods_of(redaction["columns"])
    found = _problems(source, draft, methods)
    if found:
        raise ValueError(f"{draft.path!r} is not released: {'; '.join(found)}")
    path, report_path = Path(out, Path(source.path).name), Path(out, "report.json")
    for written in (path, report_path):
        _check_not_the_source(written, source.path)
    report = _report(source, draft, methods, redaction, path.name)
    report["note"] = note
    write_whole(path, csv_bytes(draft.columns, draft.rows))
    write_whole(report_path, _json_bytes(report))
    return Release(path=os.fspath(path), report_path=os.fspath(report_path), report=report)


def problems(redaction: Redaction) -> list[str]:
    """Return what would keep a draft from being released; reads both files."""
    source, draft = _both(redaction)
    return _problems(source, draft, methods_of(redaction["columns"]))


def methods_of(treatments: Mapping[str, Treatment]) -> dict[str, Method]:
    """Return the columns that are not kept, and the method of each."""
    return {name: method for name, method in treatments.items() if method != "keep"}


def _report(
    source: Table, draft: Table, methods: Mapping[str, Method], redaction: Redaction, name: str
) -> Report:
    looked_for = sum(map(len, telling_values(source, methods).values()))
    return Report(
        note="",
        source=_file_facts(source, Path(source.path).name),
        released=_file_facts(draft, name),
        columns=redaction["columns"],
        personal_kept=redaction["personal_kept"],
        check=Check(passed=True, values_looked_for=looked_for),
        singled_out=singled_out(draft, methods),
    )


def _both(redaction: Redaction) -> tuple[Table, Table]:
    source = _unchanged(redaction["source"], redaction["source_sha256"])
    return source, _unchanged(redaction["path"], redaction["sha256"])


def _problems(source: Table, draft: Table, methods: Mapping[str, Method]) -> list[str]:
    return [*differences(source, draft, methods), *_sentences(leaks(source, draft, methods))]


def _singled_out_after(table: Table, methods: Mapping[str, Method]) -> SinglingOut:
    columns, rows = redact_table(table, methods)
    return singled_out(Table(table.path, columns, tuple(rows), table.sha256, table.bytes), methods)


def _sentences(found: Iterable[Leak]) -> list[str]:
    return [
        f"the redacted column {leak['column']!r} can still be read in {leak['found_in']!r} "
        f"(different values: {leak['values']}, first in row {leak['first_row']}): "
        f"redact {leak['found_in']!r} too"
        for leak in found
    ]


def _unchanged(path: StrPath, sha256: str | None) -> Table:
    table = read_table(path)
    if sha256 is not None and table.sha256 != sha256:
        raise ValueError(
            f"{table.path!r} changed while the release was prepared: its sha256 is "
            f"{table.sha256!r}, not {sha256!r} as before; start a new run for the new version"
        )
    return table


def _check_not_the_source(target: StrPath, source: StrPath) -> None:
    if Path(target).resolve() == Path(source).resolve():
        raise ValueError(
            f"{os.fspath(target)!r} would overwrite the source: write to another folder"
        )


def _file_facts(table: Table, name: str) -> FileFacts:
    return FileFacts(
        name=name,
        rows=len(table.rows),
        columns=len(table.columns),
        sha256=table.sha256,
        bytes=table.bytes,
    )


def _json_bytes(report: Report) -> bytes:
    return (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode()


def _text(fields: Mapping[object, object], name: str, default: str | None) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str) or not value:
        raise ValueError(
            f"the input's {name!r} is {value!r}: give a path as text, "
            'for example {"source": "people.csv", "out": "released"}'
        )
    return value
