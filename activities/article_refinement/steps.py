"""Read an article, revise it, write it: each may be executed again after a crash."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from activities.article_refinement.measuring import measure
from activities.article_refinement.records import (
    Article,
    Report,
    Request,
    Revision,
    Round,
    Written,
)
from activities.article_refinement.rewriting import (
    in_the_active,
    left_over,
    split,
    with_words,
    without_filler,
    without_words,
)
from activities.article_refinement.wishes import NO_WISHES, Wishes, wishes_after
from activities.article_refinement.words import PHRASES, WORDS
from activities.writing import sha256_of, write_whole

LARGEST = 100_000
"""Bytes: an article travels with each round, and a book does not fit."""


def read_request(run_input: object) -> Request:
    """Return what a run's input asks for: a path, or `{"source": ..., "out": ...}`.

    Without `out` the result goes to `refined/<name of the file>/`.
    """
    fields = _fields({"source": run_input} if isinstance(run_input, str) else run_input)
    source = fields.get("source")
    if not isinstance(source, str) or not source:
        raise ValueError(f"the input is {run_input!r}: give the path of a text file")
    out = fields.get("out") or os.path.join("refined", Path(source).stem)
    return Request(source=source, out=str(out))


def read_article(source: str) -> Article:
    """Return a text file (UTF-8, English) with its measures, or say why it cannot be used."""
    try:
        content = Path(source).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no file at {source!r} (looked from {os.getcwd()!r}): give the path of a text file"
        ) from None
    if len(content) > LARGEST:
        raise ValueError(
            f"{source!r} has {len(content):,} bytes: at most {LARGEST:,} can be refined"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{source!r} is not UTF-8 text: save it as such") from None
    return Article(
        name=Path(source).name, sha256=sha256_of(content), text=text, measures=measure(text)
    )


def refine(text: str, before: Revision | None = None, feedback: str = "") -> Revision:
    """Return `text` after one round of rules; `before` is the round that was rejected, if any."""
    if before is None:
        wishes, wanted = NO_WISHES, [f"sentences of at most {NO_WISHES['longest_sentence']} words"]
    else:
        wishes, wanted = wishes_after(before["wishes"], feedback)
    text, done = _rewritten(text, wishes)
    left = left_over(text, wishes["longest_sentence"], wishes["active"], wishes["avoid"])
    this = Round(feedback=feedback, wanted=wanted, done=done, left=left, measures=measure(text))
    rounds = [*(before["rounds"] if before else []), this]
    return Revision(text=text, measures=this["measures"], wishes=wishes, rounds=rounds)


def write_article(
    request: Request, article: Article, revised: object, *, edited: bool = False
) -> Written:
    """Write the text as it was reviewed, edited or not, and a report, into the folder `out`.

    `revised` is a revision, or the text alone where a reviewer typed one, or None where nothing was
    accepted: then the text is written as it was.
    """
    text, rounds = _reviewed(article, revised)
    content = text.encode()
    path, report_path = Path(request["out"], article["name"]), Path(request["out"], "report.json")
    if path.resolve() == Path(request["source"]).resolve():
        raise ValueError(f"{os.fspath(path)!r} would overwrite the source: write elsewhere")
    report = Report(
        source=article["name"],
        source_sha256=article["sha256"],
        sha256=sha256_of(content),
        accepted=revised is not None,
        edited=edited,
        before=article["measures"],
        after=measure(text),
        rounds=rounds,
    )
    write_whole(path, content)
    write_whole(report_path, (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
    return Written(path=os.fspath(path), report_path=os.fspath(report_path), report=report)


def _rewritten(text: str, wishes: Wishes) -> tuple[str, list[str]]:
    text, done = without_filler(text)
    for plain in (wishes["replace"], PHRASES, WORDS):
        text, said = with_words(text, plain)
        done += said
    text, said = without_words(text, wishes["avoid"])
    done += said
    text, said = split(text, wishes["longest_sentence"])
    done += said
    if wishes["active"]:
        text, said = in_the_active(text)
        done += said
    return text, done


def _reviewed(article: Article, revised: object) -> tuple[str, list[Round]]:
    if revised is None:
        return article["text"], []
    if isinstance(revised, str):
        return revised, []
    fields = _fields(revised)
    text = fields.get("text")
    if not isinstance(text, str):
        raise ValueError("the article was edited to something without a text: give it as `text`")
    return text, cast("list[Round]", fields.get("rounds") or [])


def _fields(data: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", data) if isinstance(data, Mapping) else {}
