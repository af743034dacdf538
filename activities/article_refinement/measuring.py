"""How hard a text is to read: sentences, words, syllables, and Flesch's reading ease.

Syllables are those at which `pyphen` would hyphenate, an estimate that is good enough to compare
two versions of one text.
"""

import re
from functools import cache
from typing import TypedDict

from pyphen import Pyphen

PARAGRAPHS = re.compile(r"\n[ \t]*\n")
WORD = re.compile(r"[^\W_]+(?:['\u2019.,-][^\W_]+)*")
END = re.compile(
    r"(?<=[.!?])(?<!\b[A-Z]\.)(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\b[DM]r\.)\s+(?=[^\W_a-z])"
)
PASSIVE = re.compile(
    r"\b(?:am|is|are|was|were|be|been|being) (?:\w+ly )?"
    r"(?:\w{2,}ed|made|built|kept|held|sent|given|taken|written|chosen|lent|bought|found|told)\b"
)


class Measures(TypedDict):
    """`reading_ease` is Flesch's: 60 to 70 is plain English, and more is easier."""

    words: int
    sentences: int
    longest_sentence: int
    words_per_sentence: float
    syllables_per_word: float
    reading_ease: float
    passives: int


def measure(text: str) -> Measures:
    """Count what there is in `text`; headings (lines with `#`) are not counted."""
    sentences = [each for part in paragraphs(text) for each in sentences_of(part)]
    lengths = [count_words(each) for each in sentences]
    words = [word for each in sentences for word in WORD.findall(each)]
    if not words:
        raise ValueError("the text has no words: there is nothing to measure")
    per_sentence = len(words) / len(sentences)
    per_word = sum(map(syllables, words)) / len(words)
    return Measures(
        words=len(words),
        sentences=len(sentences),
        longest_sentence=max(lengths),
        words_per_sentence=round(per_sentence, 1),
        syllables_per_word=round(per_word, 2),
        reading_ease=round(206.835 - 1.015 * per_sentence - 84.6 * per_word, 1),
        passives=sum(len(PASSIVE.findall(each)) for each in sentences),
    )


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a text that are prose."""
    return [each for each in map(str.strip, PARAGRAPHS.split(text)) if each and is_prose(each)]


def is_prose(paragraph: str) -> bool:
    """Whether a paragraph holds sentences, and is no heading."""
    return not paragraph.startswith("#")


def sentences_of(paragraph: str) -> list[str]:
    """Return the sentences of one paragraph, on one line each."""
    return [" ".join(each.split()) for each in END.split(paragraph) if WORD.search(each)]


def count_words(text: str) -> int:
    """Return how many words there are in `text`."""
    return len(WORD.findall(text))


def syllables(word: str) -> int:
    """Return how many syllables a word has, by its hyphens; at least one."""
    return len(_hyphens().positions(word.casefold())) + 1


@cache
def _hyphens() -> Pyphen:
    return Pyphen(lang="en_US")
