"""What a reviewer wants of the next round, understood from plain speech; nothing is guessed."""

import re
from typing import TypedDict

LONGEST = 24
SHORTEST = 8
STEP = 6

AT_MOST = re.compile(r"(?:at most|no more than|maximum of|up to) (\d+) words")
SHORTER = re.compile(
    r"\b(?:short(?:er)?|split)\b[^.;]*\bsentences?\b|\bsentences?\b[^.;]*\bshorter\b"
)
ACTIVE = re.compile(r"\bpassives?\b|\bactive voice\b")
_QUOTED = r"[\"'\u201c]?([\w -]+?)[\"'\u201d]?"
INSTEAD = re.compile(rf"\b(?:say|use|write) {_QUOTED} (?:instead of|for) {_QUOTED}(?=[.,;]|$)")
REPLACE = re.compile(rf"\breplace {_QUOTED} (?:with|by) {_QUOTED}(?=[.,;]|$)")
AVOID = re.compile(r"\b(?:avoid|without|drop|never say|don't say) ([^.;\n]+)")
LISTED = re.compile(r",| and | or |\bno\b|\bavoid\b")
NOT_WORDS = {"passive", "passives", "voice", "sentences", "sentence"}

UNDERSTOOD = (
    "'shorter sentences', 'at most 12 words', 'no passive', 'avoid really and \"in order to\"', "
    "'say help instead of assistance'"
)


class Wishes(TypedDict):
    """What is wanted of a text; a round keeps the wishes of those before it."""

    longest_sentence: int
    active: bool
    avoid: list[str]
    replace: dict[str, str]


NO_WISHES = Wishes(longest_sentence=LONGEST, active=False, avoid=[], replace={})


def wishes_after(before: Wishes, feedback: str) -> tuple[Wishes, list[str]]:
    """Return the wishes with those that `feedback` adds, and each of these in words.

    Without feedback a round wants somewhat shorter sentences. Feedback in which nothing is
    understood adds nothing, and the words say so.
    """
    said = " ".join(feedback.split())
    if not said:
        limit = _shorter(before["longest_sentence"])
        return {**before, "longest_sentence": limit}, [f"sentences of at most {limit} words"]
    lower = said.lower()
    limit = _limit(lower, before["longest_sentence"])
    active = before["active"] or ACTIVE.search(lower) is not None
    replace = {**before["replace"], **_replacements(lower)}
    avoid = [word for word in _avoided(lower) if word not in replace]
    after = Wishes(
        longest_sentence=limit,
        active=active,
        avoid=list(dict.fromkeys([*before["avoid"], *avoid])),
        replace=replace,
    )
    return after, _in_words(before, after) or [
        f"nothing in the feedback is understood; what is: {UNDERSTOOD}"
    ]


def _limit(lower: str, before: int) -> int:
    number = AT_MOST.search(lower)
    if number:
        return max(SHORTEST, int(number[1]))
    return _shorter(before) if SHORTER.search(lower) else before


def _shorter(limit: int) -> int:
    return max(SHORTEST, limit - STEP)


def _replacements(lower: str) -> dict[str, str]:
    turned = {old.strip(): new.strip() for new, old in INSTEAD.findall(lower)}
    return turned | {old.strip(): new.strip() for old, new in REPLACE.findall(lower)}


def _avoided(lower: str) -> list[str]:
    rest = REPLACE.sub(" ", INSTEAD.sub(" ", lower))
    parts = [part for listed in AVOID.findall(rest) for part in LISTED.split(listed)]
    words = [re.sub(r"^(?:the )?words? ", "", each.strip()).strip(" \"'") for each in parts]
    return [word for word in words if word and not NOT_WORDS.intersection(word.split())]


def _in_words(before: Wishes, after: Wishes) -> list[str]:
    said: list[str] = []
    if after["longest_sentence"] != before["longest_sentence"]:
        said.append(f"sentences of at most {after['longest_sentence']} words")
    if after["active"] and not before["active"]:
        said.append("no passive")
    said += [f"without {word!r}" for word in after["avoid"] if word not in before["avoid"]]
    changed = {
        old: new for old, new in after["replace"].items() if before["replace"].get(old) != new
    }
    return said + [f"{new!r} instead of {old!r}" for old, new in changed.items()]
