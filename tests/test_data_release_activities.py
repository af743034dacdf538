"""What the steps of `data_release` promise, on the real file and on files made to break them."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import activities.data_release as data_release
from activities.data_release import (
    by_edit,
    by_feedback,
    by_form,
    draft,
    load,
    profile,
    read_request,
    redact,
    release,
)
from activities.data_release.redaction import mask
from activities.data_release.tables import read_table
from activities.writing import csv_bytes, write_whole

LEGISLATORS = Path(__file__).parent.parent / "activities" / "data" / "legislators.csv"
SOURCE_SHA256 = "a9e859104ce52e63212ce43c9421dcab3024afc00708a5ba5a8ae068b8f5a185"
RELEASED_SHA256 = "abc95ee10f2f04da5e2e57d4a7b7b39af59fc4d71cf4c343f27becdf72ce4b67"
KEPT = ("birthday", "gender", "type", "state", "district", "party")
SALT = "a salt for tests only"
EVERY_METHOD = {
    "bioguide_id": "hash",
    "last_name": "remove",
    "first_name": "remove",
    "middle_name": "remove",
    "suffix": "remove",
    "nickname": "remove",
    "full_name": "mask",
    "birthday": "year",
    "url": "remove",
    "address": "remove",
    "phone": "mask",
}


def people(folder: Path, text: str) -> Path:
    path = folder / "people.csv"
    path.write_bytes(textwrap.dedent(text).encode())
    return path


# The real file


def test_the_shipped_file_is_the_one_that_its_source_note_describes() -> None:
    """The shipped dataset is the file whose digest `SOURCE.md` states."""
    assert SOURCE_SHA256 in LEGISLATORS.with_name("SOURCE.md").read_text(encoding="utf-8")
    assert hashlib.sha256(LEGISLATORS.read_bytes()).hexdigest() == SOURCE_SHA256


def test_load_tells_the_facts_of_the_file() -> None:
    """Loading returns rows, columns, size and digest, and nothing of the content."""
    dataset = load(LEGISLATORS)

    assert (dataset["rows"], len(dataset["columns"])) == (540, 16)
    assert (dataset["bytes"], dataset["sha256"]) == (85387, SOURCE_SHA256)
    assert dataset["columns"][:2] == ["bioguide_id", "last_name"]


def test_profile_guesses_the_kind_of_every_column() -> None:
    """Every column of the real file is recognised for what it is."""
    columns = profile(LEGISLATORS)["columns"]

    assert {name: column["kind"] for name, column in columns.items()} == {
        "bioguide_id": "identifier",
        "last_name": "name",
        "first_name": "name",
        "middle_name": "name",
        "suffix": "name",
        "nickname": "name",
        "full_name": "name",
        "birthday": "date",
        "gender": "category",
        "type": "category",
        "state": "category",
        "district": "number",
        "party": "category",
        "url": "url",
        "address": "address",
        "phone": "phone",
    }


def test_profile_says_which_columns_are_personal_and_why() -> None:
    """Whoever confirms is given the columns that point to a person, with counted reasons."""
    columns = profile(LEGISLATORS)["columns"]

    personal = [name for name, column in columns.items() if column["personal"]]
    assert set(columns) - set(personal) == {"gender", "type", "state", "district", "party"}
    assert columns["phone"]["why"] == [
        "the header 'phone' speaks of phone numbers",
        "540 of 540 values look like phone numbers",
    ]
    assert columns["birthday"]["why"][1] == "its dates spread over 55 years, as dates of birth do"
    assert columns["url"]["why"] == ["540 of 540 values belong to one row each"]
    assert (columns["nickname"]["filled"], columns["nickname"]["distinct"]) == (40, 30)
    assert columns["party"]["why"] == []


def test_redact_removes_what_is_personal_and_keeps_the_year_of_birth(tmp_path: Path) -> None:
    """Without a choice, personal columns go, dates become years and all rows stay."""
    redaction = redact(LEGISLATORS, tmp_path / "draft.csv")

    draft = read_table(tmp_path / "draft.csv")
    assert draft.columns == ("birthday", "gender", "type", "state", "district", "party")
    assert draft.rows[0] == ("1952", "M", "sen", "OH", "", "Democrat")
    assert (redaction["rows"], redaction["bytes"]) == (540, 14204)
    assert redaction["sha256"] == RELEASED_SHA256
    assert redaction["columns"]["birthday"] == "year"
    assert redaction["columns"]["phone"] == "remove"
    assert redaction["columns"]["state"] == "keep"
    assert redaction["personal_kept"] == []


def test_redact_carries_out_the_chosen_methods(tmp_path: Path) -> None:
    """A choice of methods is carried out column by column, exactly as it was made."""
    redact(LEGISLATORS, tmp_path / "draft.csv", EVERY_METHOD, salt=SALT)

    draft = read_table(tmp_path / "draft.csv")
    first = dict(zip(draft.columns, draft.rows[0], strict=True))
    assert len(first["bioguide_id"]) == 32
    assert (first["full_name"], first["phone"]) == ("S••• B•••", "•••-•••-•••")
    assert len(set(draft.column("bioguide_id"))) == 540


def test_release_writes_the_file_and_a_report_with_counts_and_checksums(tmp_path: Path) -> None:
    """A release is a CSV and a report whose numbers are those of the files on the disk."""
    released = release(redact(LEGISLATORS, tmp_path / "draft" / "legislators.csv"), tmp_path)

    assert released["path"] == str(tmp_path / "legislators.csv")
    content = Path(released["path"]).read_bytes()
    report = json.loads(Path(released["report_path"]).read_text(encoding="utf-8"))
    assert report == released["report"]
    assert report["source"] == {
        "name": "legislators.csv",
        "rows": 540,
        "columns": 16,
        "sha256": SOURCE_SHA256,
        "bytes": 85387,
    }
    assert report["released"] == {
        "name": "legislators.csv",
        "rows": 540,
        "columns": 6,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    assert report["released"]["sha256"] == RELEASED_SHA256
    assert report["check"] == {"passed": True, "values_looked_for": 3934}


def test_release_counts_the_rows_that_can_still_be_told_apart(tmp_path: Path) -> None:
    """The report warns that district and year of birth still single out every legislator."""
    released = release(redact(LEGISLATORS, tmp_path / "draft.csv"), tmp_path / "out")

    assert released["report"]["singled_out"] == {
        "rows": 540,
        "by": ["birthday", "gender", "type", "state", "district", "party"],
    }


def test_a_released_file_holds_no_value_that_was_unique_to_one_person(tmp_path: Path) -> None:
    """No cell of the release equals a value that one row alone had in a redacted column."""
    released = release(redact(LEGISLATORS, tmp_path / "d.csv", EVERY_METHOD, salt=SALT), tmp_path)

    source, result = read_table(LEGISLATORS), read_table(released["path"])
    cells = {cell for row in result.rows for cell in row if cell}
    for name in EVERY_METHOD:
        values = source.column(name)
        assert not {value for value in values if values.count(value) == 1} & cells


# Executed again after a crash


def test_every_step_executed_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """A step that is executed again after a crash changes nothing."""

    def run() -> list[Any]:
        redaction = redact(LEGISLATORS, tmp_path / "d.csv", EVERY_METHOD, salt=SALT)
        released = release(redaction, tmp_path / "out")
        files = [path.read_bytes() for path in sorted((tmp_path / "out").iterdir())]
        return [load(LEGISLATORS), profile(LEGISLATORS), redaction, released, files]

    assert run() == run()


def test_what_the_steps_hand_on_is_plain_json_and_small(tmp_path: Path) -> None:
    """No table travels between steps: each result is JSON of a few kilobytes at most."""
    redaction = redact(LEGISLATORS, tmp_path / "d.csv", EVERY_METHOD, salt=SALT)

    for result in (
        load(LEGISLATORS),
        profile(LEGISLATORS),
        redaction,
        release(redaction, tmp_path),
    ):
        text = json.dumps(result)
        assert json.loads(text) == result
        assert len(text) < 4096


def test_a_result_that_travelled_as_json_can_be_released(tmp_path: Path) -> None:
    """What comes back from a message releases as well as what was returned."""
    redaction = redact(LEGISLATORS, tmp_path / "d.csv")

    released = release(json.loads(json.dumps(redaction)), tmp_path)

    assert released["report"]["released"]["sha256"] == RELEASED_SHA256


def test_a_reader_never_sees_half_a_file_even_when_the_writer_is_killed(tmp_path: Path) -> None:
    """While one process writes and is killed, another reads whole files only."""
    target = tmp_path / "people.csv"
    versions = [letter * 2_000_000 for letter in (b"a", b"b")]
    write_whole(target, versions[0])
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from activities.writing import write_whole\n"
            "while True:\n"
            "    for letter in (b'a', b'b'): write_whole(sys.argv[1], letter * 2_000_000)",
            str(target),
        ],
        cwd=LEGISLATORS.parent.parent.parent,
    )
    try:
        seen = [target.read_bytes()]
        while seen[-1] == versions[0] and writer.poll() is None:
            seen.append(target.read_bytes())
        seen += [target.read_bytes() for _ in range(200)]
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()

    assert {*seen, target.read_bytes()} == set(versions)


def test_writing_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that breaks off leaves the file as it was and no temporary file beside it."""
    target = tmp_path / "people.csv"
    write_whole(target, b"old")

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_whole(target, b"new")

    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


# What people say


COLUMNS = ["name", "city", "born", "type", "year"]


@pytest.mark.parametrize(
    ("feedback", "asked"),
    [
        ("remove city", {"city": "remove"}),
        ("City too, please", {"city": "remove"}),
        ("mask name and city; shorten born", {"name": "mask", "city": "mask", "born": "year"}),
        ("name should be hashed, city kept", {"name": "hash", "city": "hash"}),
        ("keep city, remove name", {"city": "keep", "name": "remove"}),
        ("hide the names", {}),
        ("the year must be masked", {"year": "mask"}),
        ("not good enough", {}),
        ("", {}),
    ],
)
def test_feedback_is_understood_by_the_columns_it_names(
    feedback: str, asked: dict[str, str]
) -> None:
    """Feedback changes the columns that it names, by the method that it names, and no other."""
    assert asked == by_feedback(feedback, COLUMNS)


def test_a_form_treats_what_it_names_and_the_rest_is_as_suggested() -> None:
    """A form overrides the suggestion column by column; what neither names is kept."""
    form: dict[str, Any] = {"keep": ["name"], "mask": ["city"], "remove": None}

    treated = by_form({"name": "remove", "born": "year"}, COLUMNS, form)

    assert treated == {
        "name": "keep",
        "city": "mask",
        "born": "year",
        "type": "keep",
        "year": "keep",
    }


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"mask": ["age"]}, "no column 'age' to 'mask': the columns are name, city, born"),
        ({"mask": ["name"], "keep": ["name"]}, "column 'name' is to be treated as 'keep' and as"),
        ({"mask": [7]}, "the columns to 'mask' are [7]: give their names as text"),
    ],
)
def test_a_form_that_cannot_be_carried_out_is_refused(form: dict[str, Any], sentence: str) -> None:
    """A form with a column that is not there, or is there twice, is refused with a sentence."""
    with pytest.raises(ValueError) as refused:
        by_form({}, COLUMNS, form)

    assert sentence in str(refused.value)


@pytest.mark.parametrize("edited", [None, "fine", {}, {"name": "keep"}, {"name": "blur"}])
def test_an_edited_draft_must_name_every_column(edited: Any) -> None:
    """An edit that leaves a column out, or gives it a method that is none, releases nothing."""
    with pytest.raises(ValueError, match="give each of name, city one of keep, remove, mask,"):
        by_edit(edited, ["name", "city"])


def test_a_draft_tells_what_would_stop_its_release(tmp_path: Path) -> None:
    """The reviewer sees the leaks that the release would refuse, and what feedback did about it."""
    source = people(
        tmp_path, "name,note\nAda Lovelace,first visit\nAlan Turing,came with ADA LOVELACE.\n"
    )
    request = read_request({"source": str(source), "out": str(tmp_path / "out")})
    profiled = profile(source)

    first = draft(request, profiled, {"mask": ["name"]})
    second = draft(request, profiled, rejected=first, feedback="mask note")
    third = draft(request, profiled, rejected=second, feedback="mask note")

    assert ["the redacted column 'name' can still be read in 'note'"] == [
        each[:54] for each in first["problems"]
    ]
    assert ([], ["mask note"]) == (second["problems"], second["changes"])
    assert ["nothing: it is so already"] == third["changes"]


def test_a_quick_profile_looks_at_rows_all_over_the_file() -> None:
    """A quick profile of the real file finds the same columns personal from a hundred rows."""
    quick, deep = profile(LEGISLATORS, "quick"), profile(LEGISLATORS, "deep")

    assert (100, 540) == (quick["looked_at"], deep["looked_at"])
    assert deep["suggested"] == quick["suggested"]
    assert quick["singled_out"] is None
    assert deep["singled_out"] == {"rows": 540, "by": [*KEPT]}


# Files that cannot be used

BAD_FILES = {
    "empty": (b"", "line 1 is empty: the first line must name the columns"),
    "blank header": (b"\na,b\n", "line 1 is empty: the first line must name the columns"),
    "no rows": (b"a,b\n", "has a header and no rows: there is nothing to release"),
    "twice": (b"a,b,a\n1,2,3\n", "line 1 names column 3 'a' like column 1: give every column"),
    "unnamed": (b"a,,b\n1,2,3\n", "line 1 has no name for column 2: name it"),
    "long row": (b"a,b\n1,2\n3,4,5\n", "line 3 has 3 values for 2 columns: put values that"),
    "short row": (b'a,b\n"1\n1",2\n3\n', "line 4 has 1 values for 2 columns: put values that"),
    "blank line": (b"a,b\n1,2\n\n3,4\n", "line 3 is blank: remove it"),
    "open quote": (b'a,b\n1,2\n3,"4\n', "line 3 is not CSV (unexpected end of data): put values"),
    "semicolons": (b"a;b\n1;2\n", "line 1 is separated by ';': save the file with commas"),
    "latin-1": ("a,b\n1,2\n3,Müller\n".encode("latin-1"), "line 3 is not UTF-8 text: save the"),
    "picture": (b"a,b\n1,\0\n", "line 2 holds a NUL byte, so it is not a CSV file: export"),
}


@pytest.mark.parametrize(("content", "sentence"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_cannot_be_used_is_refused_with_its_line(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    """The sentence names the file, the line, what is wrong and what to do."""
    path = tmp_path / "bad.csv"
    path.write_bytes(content)

    with pytest.raises(ValueError) as refused:
        load(path)

    assert str(refused.value).startswith(f"{str(path)!r} ")
    assert sentence in str(refused.value)


def test_a_missing_file_is_refused_with_the_folder_that_was_searched() -> None:
    """A wrong path is told together with the folder that it was taken from."""
    with pytest.raises(FileNotFoundError) as refused:
        load("nowhere.csv")

    assert str(refused.value) == (
        f"no file at 'nowhere.csv' (looked from {os.getcwd()!r}): "
        "give the path of a CSV file that this worker can read"
    )


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder instead of a file is told as such."""
    with pytest.raises(IsADirectoryError, match="is a folder: give the path of one CSV file in it"):
        load(tmp_path)


def test_a_byte_order_mark_is_not_part_of_the_first_name(tmp_path: Path) -> None:
    """Files saved by spreadsheet programs have the column names that one sees."""
    assert load(people(tmp_path, "\ufeffname,city\nAda,London\n"))["columns"] == ["name", "city"]


# Choices that cannot be carried out


@pytest.mark.parametrize(
    ("methods", "salt", "sentence"),
    [
        ({"age": "mask"}, None, "no column 'age' to 'mask': the columns are name, born, city"),
        ({"name": "blur"}, None, "unknown method 'blur' for column 'name': choose one of remove,"),
        ({"name": "hash"}, None, "the method 'hash' needs a salt: pass one that is kept secret"),
        ({"name": "hash"}, "short", "the salt has 5 characters, too few to keep its hashes from"),
        ({"name": "year"}, None, "row 1 has no date in column 'name', so 'year' cannot be applied"),
        (
            {"name": "remove", "born": "remove", "city": "remove"},
            None,
            "every column would be removed: keep, mask, hash or shorten one of them",
        ),
    ],
)
def test_methods_that_cannot_be_carried_out_are_refused(
    methods: dict[str, str], salt: str | None, sentence: str, tmp_path: Path
) -> None:
    """A wrong choice is refused with what may be chosen, and nothing is written."""
    source = people(tmp_path, "name,born,city\nAda Lovelace,1815-12-10,London\n")

    with pytest.raises(ValueError) as refused:
        redact(source, tmp_path / "draft.csv", methods, salt=salt)

    assert sentence in str(refused.value)
    assert "Lovelace" not in str(refused.value)
    assert not (tmp_path / "draft.csv").exists()


def test_a_mask_that_shows_an_earlier_value_is_refused(tmp_path: Path) -> None:
    """A masked value that the column held before is refused rather than released."""
    source = people(tmp_path, "name,city\nAda,London\nA•••,Paris\n")

    with pytest.raises(ValueError, match="to 'mask' column 'name' would give values that it"):
        redact(source, tmp_path / "draft.csv", {"name": "mask"})


def test_a_source_that_changed_since_it_was_confirmed_is_refused(tmp_path: Path) -> None:
    """What a person confirmed is what is redacted, or nothing is."""
    source = people(tmp_path, "name,city\nAda,London\n")
    confirmed = profile(source)["sha256"]
    people(tmp_path, "name,city\nAda,Paris\n")

    with pytest.raises(ValueError, match="changed while the release was prepared"):
        redact(source, tmp_path / "draft.csv", sha256=confirmed)


def test_the_source_is_never_overwritten(tmp_path: Path) -> None:
    """Neither the draft nor the release may take the place of the source."""
    source = people(tmp_path, "name,city\nAda,London\n")

    with pytest.raises(ValueError, match="would overwrite the source: write to another folder"):
        redact(source, tmp_path / "." / "people.csv", {"name": "mask"})
    redaction = redact(source, tmp_path / "draft.csv", {"name": "mask"})
    with pytest.raises(ValueError, match="would overwrite the source: write to another folder"):
        release(redaction, tmp_path)


# What is not released


def test_a_value_that_is_still_readable_elsewhere_stops_the_release(tmp_path: Path) -> None:
    """A name that was masked in its own column but stands in a note is not released."""
    source = people(
        tmp_path, "name,note\nAda Lovelace,first visit\nAlan Turing,came with ADA LOVELACE.\n"
    )
    redaction = redact(source, tmp_path / "draft.csv", {"name": "mask"})

    with pytest.raises(ValueError) as refused:
        release(redaction, tmp_path / "out")

    assert str(refused.value) == (
        f"{str(tmp_path / 'draft.csv')!r} is not released: the redacted column 'name' can still "
        "be read in 'note' (different values: 1, first in row 2): redact 'note' too"
    )
    assert not (tmp_path / "out").exists()


def test_a_single_word_counts_as_readable_in_its_own_row_only(tmp_path: Path) -> None:
    """Another person's first name is no leak; one's own family name in a link is."""
    source = people(tmp_path, "last,first,url\nLee,Ann,example.org/a\nKing,Lee,example.org/b\n")
    release(redact(source, tmp_path / "d.csv", {"last": "remove"}), tmp_path / "out")

    source = people(tmp_path, "last,first,url\nLee,Ann,lee.example.org\nKing,Lee,example.org/b\n")
    with pytest.raises(ValueError, match="column 'last' can still be read in 'url'"):
        release(redact(source, tmp_path / "d.csv", {"last": "remove"}), tmp_path / "out")


def test_a_draft_that_was_changed_is_not_released(tmp_path: Path) -> None:
    """Only the draft that `redact` wrote is released."""
    source = people(tmp_path, "name,city\nAda,London\nAlan,Paris\n")
    redaction = redact(source, tmp_path / "draft.csv", {"name": "mask"})
    (tmp_path / "draft.csv").write_text("name,city\nA•••,London\n", encoding="utf-8")

    with pytest.raises(ValueError, match="changed while the release was prepared"):
        release(redaction, tmp_path / "out")


@pytest.mark.parametrize(
    ("draft", "sentence"),
    [
        ("name,city\nA•••,London\n", "it has 1 rows, not 2"),
        ("city\nLondon\nParis\n", "its columns are ['city'], not ['name', 'city']"),
        ("name,city\nA•••,Rome\nA•••,Paris\n", "its column 'city' is not that of the source"),
    ],
)
def test_a_draft_that_redaction_does_not_explain_is_not_released(
    draft: str, sentence: str, tmp_path: Path
) -> None:
    """Lost rows, lost columns and altered values are found by comparing with the source."""
    source = people(tmp_path, "name,city\nAda,London\nAlan,Paris\n")
    redaction = redact(source, tmp_path / "draft.csv", {"name": "mask"})
    (tmp_path / "draft.csv").write_text(draft, encoding="utf-8")
    redaction["sha256"] = load(tmp_path / "draft.csv")["sha256"]

    with pytest.raises(ValueError) as refused:
        release(redaction, tmp_path / "out")

    assert sentence in str(refused.value)


def test_personal_columns_that_were_left_as_they_are_are_reported(tmp_path: Path) -> None:
    """Whoever reads the report sees which personal columns went out unchanged."""
    source = people(tmp_path, "name,born,city\nAda Byron,1815-12-10,London\n")

    released = release(redact(source, tmp_path / "d.csv", {"born": "year"}), tmp_path / "out")

    assert released["report"]["personal_kept"] == ["name"]
    assert read_table(released["path"]).rows == (("Ada Byron", "1815", "London"),)


# Methods


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("Sherrod Brown", "S••• B•••"),
        ("Benjamin L. Cardin", "B••• •••. C•••"),
        ("202-224-2315", "•••-•••-•••"),
        ("ada@example.org", "a•••@e•••.o•••"),
        ("Jo", "•••"),
        ("--", "•••"),
        ("André", "A•••"),
    ],
)
def test_mask_keeps_initials_and_separators(value: str, masked: str) -> None:
    """A masked value shows its shape, and neither digits nor lengths nor short words."""
    assert mask(value) == masked


def test_hashes_are_the_same_for_the_same_salt_only(tmp_path: Path) -> None:
    """Releases under one salt can be joined, releases under two salts cannot."""
    source = people(tmp_path, "name,friend,city\nAda,Ada,London\nAda,Alan,Paris\n")

    def hashed(salt: str) -> list[tuple[str, ...]]:
        chosen = {"name": "hash", "friend": "hash"}
        redact(source, tmp_path / "draft.csv", chosen, salt=salt)
        return list(read_table(tmp_path / "draft.csv").rows)

    first = hashed(SALT)
    assert first == hashed(SALT)
    assert first[0][0] == first[1][0] != first[0][1]
    assert first[0][0] != hashed("another salt for tests")[0][0]


@pytest.mark.parametrize(
    "date", ["1815-12-10", "10.12.1815", "12/10/1815", "1815-12-10T08:00", "1815"]
)
def test_year_understands_the_usual_dates(date: str, tmp_path: Path) -> None:
    """A date in any of the usual notations becomes its year."""
    source = people(tmp_path, f"born,city\n{date},London\n")

    redact(source, tmp_path / "draft.csv", {"born": "year"})

    assert read_table(tmp_path / "draft.csv").column("born") == ["1815"]


def test_dates_that_are_not_all_dates_are_removed_by_default(tmp_path: Path) -> None:
    """A date of birth that cannot be shortened is not a reason to fail, nor to release it."""
    rows = "".join(f"19{year}-01-01,London\n" for year in range(10, 30))
    source = people(tmp_path, f"born,city\n{rows}unknown,London\n")

    assert redact(source, tmp_path / "d.csv")["columns"] == {"born": "remove", "city": "keep"}


@pytest.mark.parametrize(
    ("header", "value", "kind"),
    [
        ("contact", "ada{}@example.org", "e-mail"),
        ("contact", "+49 30 1234{:02}", "phone"),
        ("home", "Hauptstraße {}, 10115 Berlin", "address"),
        ("who", "Ada{} Lovelace", "name"),
        ("account", "AB-{:05}", "identifier"),
        ("seen", "2024-01-{:02}", "date"),
        ("price", "1,234.{:02}", "number"),
        ("mobilePhone", "301234{:02}", "phone"),
        ("product_name", "Chair", "category"),
        ("remark", "arrived late, left early, did not say why at all {}", "free text"),
        ("unused", "", "empty"),
    ],
)
def test_profile_recognises_other_kinds(header: str, value: str, kind: str, tmp_path: Path) -> None:
    """Kinds are told from the values first and from the header where values do not tell."""
    rows = "".join(f'"{value.format(number)}",x\n' for number in range(10, 30))

    assert profile(people(tmp_path, f"{header},y\n{rows}"))["columns"][header]["kind"] == kind


def test_recent_dates_and_few_rows_are_not_called_personal(tmp_path: Path) -> None:
    """Days of one month are no dates of birth, and three rows prove nothing about uniqueness."""
    source = people(tmp_path, "seen,colour\n2024-01-01,red\n2024-01-02,blue\n2024-01-03,green\n")

    assert not any(column["personal"] for column in profile(source)["columns"].values())


# The input of a run


@pytest.mark.parametrize(
    ("run_input", "source", "out"),
    [
        ("data/people.csv", "data/people.csv", "released/people"),
        ({"source": "people.csv"}, "people.csv", "released/people"),
        ({"source": "people.csv", "out": "here"}, "people.csv", "here"),
    ],
)
def test_a_run_is_asked_for_by_a_path_or_by_two(run_input: object, source: str, out: str) -> None:
    """A run's input is the path of the source, optionally with the folder of the release."""
    assert read_request(run_input) == {
        "source": source,
        "draft": f"{out}/draft/people.csv",
        "out": out,
    }


@pytest.mark.parametrize(
    ("run_input", "sentence"),
    [
        (None, "the input is None: give the path of a CSV file as text"),
        (["a.csv"], "the input is ['a.csv']: give the path of a CSV file as text"),
        ({"sauce": "a.csv"}, "the input's 'source' is None: give a path as text"),
        ({"source": "a.csv", "out": 3}, "the input's 'out' is 3: give a path as text"),
        ("", "the input's 'source' is '': give a path as text"),
    ],
)
def test_an_input_that_names_no_file_is_refused(run_input: object, sentence: str) -> None:
    """A wrong input is shown together with an example of a right one."""
    with pytest.raises(ValueError) as refused:
        read_request(run_input)

    assert sentence in str(refused.value)


# For any values at all

VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@settings(deadline=None)  # every example waits for the disk
@given(rows=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=12))
def test_any_values_are_read_back_as_they_were_written(
    folder: Path, rows: list[tuple[str, str]]
) -> None:
    """Quotes, commas and line breaks of every kind survive writing and reading."""
    write_whole(folder / "any.csv", csv_bytes(("a", "b"), rows))

    assert list(read_table(folder / "any.csv").rows) == rows


@settings(deadline=None)  # every example waits for the disk
@given(
    values=st.lists(VALUES, min_size=1, max_size=12),
    method=st.sampled_from(["remove", "mask", "hash"]),
)
def test_redaction_keeps_the_rows_and_shows_no_redacted_value(
    folder: Path, values: list[str], method: str
) -> None:
    """Whatever a column holds, its rows are kept and none of its values can be read any more."""
    source, target = folder / "source.csv", folder / "target.csv"
    write_whole(source, csv_bytes(("secret", "row"), [(v, str(i)) for i, v in enumerate(values)]))
    try:
        redaction = redact(source, target, {"secret": method}, salt=SALT)
    except ValueError as refused:
        assert (method, "would give values" in str(refused)) == ("mask", True)
        assert any("•" in value for value in values)
        return

    result = read_table(target)
    assert redaction["rows"] == len(result.rows) == len(values)
    assert result.column("row") == [str(number) for number in range(len(values))]
    if method == "remove":
        assert result.columns == ("row",)
    else:
        shown = result.column("secret")
        assert not (set(shown) & set(values)) - {""}
        assert [not value for value in shown] == [not value for value in values]


@settings(deadline=None)  # every example waits for the disk
@given(names=st.lists(st.text("abcdefgh ", min_size=3, max_size=9), min_size=1, max_size=9))
def test_what_is_released_never_holds_a_telling_value(folder: Path, names: list[str]) -> None:
    """Either the release is refused or no row shows its own unique value, in no column."""
    source, out = folder / "names.csv", folder / "out"
    write_whole(source, csv_bytes(("name", "note"), [(n, n[::2]) for n in names]))
    try:
        released = release(redact(source, folder / "draft.csv", {"name": "mask"}), out)
    except ValueError as refused:
        assert "can still be read in 'note'" in str(refused)
        return

    for name, row in zip(names, read_table(released["path"]).rows, strict=True):
        if names.count(name) == 1 and sum(map(str.isalpha, name)) >= 3:
            assert name not in row


def test_all_public_names_exist() -> None:
    """Everything that the package lists can be imported from it."""
    assert all(hasattr(data_release, name) for name in data_release.__all__)
