"""The rules: each takes a text and gives one, the same for the same text, and says what it did."""

import re
from collections.abc import Callable, Mapping, Sequence

from activities.article_refinement.measuring import (
    PARAGRAPHS,
    PASSIVE,
    count_words,
    is_prose,
    sentences_of,
)
from activities.article_refinement.words import FILLER, PAST

FEWEST = 4
"""A part of a sentence with fewer words is not made a sentence."""

_SUBJECT = (
    r"(?=(?:the|a|an|it|they|we|he|she|this|these|there|you|I|no|every|its|our|their|people|"
    r"nobody|somebody|everybody)\b)"
)
BREAKS = (
    (re.compile(r"; (?:and |but )?"), ""),
    (re.compile(rf", and {_SUBJECT}"), ""),
    (re.compile(rf", but {_SUBJECT}"), "But "),
    (re.compile(r", and (?=(?:later|now|then) )"), ""),
    (re.compile(r", which (?=(?:is|was|has|means|makes|had)\b)"), "This "),
)
_VERB = "|".join(PAST)
_PART = r"(?:(?!\b(?:that|which|who|whom|when|if)\b)[^,;:])+?"
_BY = re.compile(
    rf"(?P<object>{_PART}) (?:was|were) (?:(?P<how>\w+ly) )?"
    rf"(?P<verb>\w{{2,}}ed|{_VERB}) by (?P<agent>{_PART})"
    r"(?P<rest>(?:,? (?:in|on|at|after|before|during|for|with|from|until|since|within)\b[^,;:]*)?)"
    r"(?P<end>[.!?])"
)
_LOWERED = re.compile(
    r"(?:The|A|An|This|These|Those|It|They|He|She|We|You|Its|Their|Our|Every|Each|Any|Most|Many|"
    r"Some|All|No|Numerous|Several|Later|But|And)\b"
)
Said = list[str]


def without_filler(text: str) -> tuple[str, Said]:
    """Drop words and phrases that say nothing."""
    return _dropped(text, FILLER)


def without_words(text: str, words: Sequence[str]) -> tuple[str, Said]:
    """Drop the words that a reviewer does not want: adverbs and filler only, as dropping any other
    word would break its sentence.
    """
    may = [each for each in words if each.endswith("ly") or each in FILLER]
    return _dropped(text, may)


def with_words(text: str, plain: Mapping[str, str]) -> tuple[str, Said]:
    """Say plainly what `plain` names, articles and capitals kept right."""
    counts: dict[str, int] = {}

    def put(sentence: str) -> list[str]:
        for old in sorted(plain, key=lambda each: (-len(each), each)):
            sentence, count = _with_word(sentence, old, plain[old])
            if count:
                counts[old] = counts.get(old, 0) + count
        return [sentence]

    text = _by_sentence(text, put)
    return text, [f"{plain[old]!r} for {old!r}{_times(counts[old])}" for old in counts]


def in_the_active(text: str) -> tuple[str, Said]:
    """Turn round sentences in the past that say by whom something was done."""
    turned = 0

    def turn(sentence: str) -> str:
        nonlocal turned
        found = _BY.fullmatch(sentence)
        if found is None or count_words(found["object"]) > 12:
            return sentence
        turned += 1
        return _turned(found)

    text = _by_sentence(text, lambda sentence: [turn(sentence)])
    return text, [f"active instead of passive{_times(turned)}"] if turned else []


def split(text: str, longest: int) -> tuple[str, Said]:
    """Split sentences of more than `longest` words where two clauses meet."""
    before = len(_all_sentences(text))
    text = _by_sentence(text, lambda sentence: _split(sentence, longest))
    more = len(_all_sentences(text)) - before
    return text, [f"{more} more full stop{'s' if more > 1 else ''}"] if more else []


def left_over(text: str, longest: int, active: bool, avoid: Sequence[str]) -> Said:
    """Return what is still against the wishes, and which no rule here can change."""
    sentences = _all_sentences(text)
    long = sum(1 for each in sentences if count_words(each) > longest)
    passive = sum(len(PASSIVE.findall(each)) for each in sentences)
    said = [f"sentences longer than {longest} words: {long}"] if long else []
    said += [f"passives, most without a doer: {passive}"] if active and passive else []
    there = [each for each in avoid if re.search(_whole(each), text, re.IGNORECASE)]
    return said + [f"{each!r} is still there: give a word for it" for each in there]


def _by_sentence(text: str, change: Callable[[str], list[str]]) -> str:
    parts = [each.strip() for each in PARAGRAPHS.split(text) if each.strip()]
    done = [
        " ".join(new for old in sentences_of(each) for new in change(old))
        if is_prose(each)
        else each
        for each in parts
    ]
    return "\n\n".join(done) + "\n"


def _all_sentences(text: str) -> list[str]:
    parts = [each.strip() for each in PARAGRAPHS.split(text)]
    return [sentence for each in parts if is_prose(each) for sentence in sentences_of(each)]


def _split(sentence: str, longest: int) -> list[str]:
    if count_words(sentence) <= longest:
        return [sentence]
    places = [
        (sentence[: found.start()].rstrip(",;") + ".", opening, sentence[found.end() :])
        for pattern, opening in BREAKS
        for found in pattern.finditer(sentence)
    ]
    good = [each for each in places if min(map(count_words, (each[0], each[2]))) >= FEWEST]
    if not good:
        return [sentence]
    first, opening, rest = min(good, key=lambda e: abs(count_words(e[0]) - count_words(e[2])))
    return [*_split(first, longest), *_split(_capital(opening + rest), longest)]


def _turned(found: re.Match[str]) -> str:
    """Return `The shelf was built by us in May.` as `We ...`: agent, verb, object, the rest."""
    verb = PAST.get(found["verb"], found["verb"])
    how = f"{found['how']} " if found["how"] else ""
    thing = found["object"]
    thing = _small(thing) if _LOWERED.match(thing) else thing
    return f"{_capital(found['agent'])} {how}{verb} {thing}{found['rest']}{found['end']}"


def _dropped(text: str, words: Sequence[str]) -> tuple[str, Said]:
    counts: dict[str, int] = {}

    def drop(sentence: str) -> list[str]:
        for word in words:
            pattern = rf"{_whole(word)},? ?"
            sentence, count = re.subn(pattern, "", sentence, flags=re.IGNORECASE)
            if count:
                counts[word] = counts.get(word, 0) + count
        return [_capital(_tidy(sentence))] if count_words(sentence) else []

    return _by_sentence(text, drop), [f"without {e!r}{_times(counts[e])}" for e in counts]


def _with_word(text: str, old: str, new: str) -> tuple[str, int]:
    def put(found: re.Match[str]) -> str:
        article, word = found["article"] or "", found["word"]
        if article:
            an = "n" if new[0] in "aeiou" else ""
            return f"{article[0]}{an} {new}"
        return _capital(new) if word[0].isupper() else new

    pattern = rf"\b(?:(?P<article>an?) )?(?P<word>{_whole(old)})"
    return re.subn(pattern, put, text, flags=re.IGNORECASE)


def _whole(word: str) -> str:
    return rf"(?<!\w){re.escape(word)}(?!\w)"


def _tidy(sentence: str) -> str:
    return re.sub(r"\s+([,.;!?])", r"\1", " ".join(sentence.split()))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _times(count: int) -> str:
    return "" if count == 1 else f" ({count} times)"
