"""What names, dates, phone numbers and the like look like, in values and in headers."""

import re
from collections.abc import Sequence
from typing import Literal

Kind = Literal[
    "name",
    "date",
    "phone",
    "e-mail",
    "address",
    "url",
    "category",
    "number",
    "identifier",
    "free text",
    "empty",
]

LONGEST = 200  # what is longer is a text, and would make the patterns below slow

DATE = re.compile(
    r"(?P<iso>\d{4})-\d\d?-\d\d?(?:[T ]\d\d:\d\d\S*)?|\d\d?([./-])\d\d?\2(?P<dotted>\d{4})"
)
NAME = re.compile(r"[^\W\d_a-z][\w.'\u2019-]*(?:,? [^\W\d_][\w.'\u2019-]*){1,5}")
IDENTIFIER = re.compile(r"(?=\S*\d)[\w.:/-]{3,40}")

# In this order: a date would pass for a phone number, and a number with commas for an address.
SHAPES: dict[Kind, re.Pattern[str]] = {
    "e-mail": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    "url": re.compile(r"(?:https?://|www\.)\S+"),
    "date": DATE,
    "number": re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?%?"),
    "phone": re.compile(r"(?=(?:\D*\d){7,15}\D*$)\+?[\d(][\d ()./-]*"),
    "address": re.compile(
        r"\d+\w?(?: \S+){2,14}|\S.* \d{4,6}(?:-\d{4})?|[^\d,]+ \d+\w?, ?\S.*", re.DOTALL
    ),
}
HEADERS: dict[Kind, re.Pattern[str]] = {
    "name": re.compile(r"(?:first|fore|full|last|nick|sur|user)?names?|suffix"),
    "phone": re.compile(r"(?:tele)?phone|mobile|cell|fax"),
    "e-mail": re.compile(r"e?mail"),
    "address": re.compile(r"address|street|zip(?:code)?|postcode|residence"),
    "date": re.compile(r"birth(?:day|date)?|dob|born"),
    "identifier": re.compile(r"id|ssn|passport|iban"),
}
PLURALS: dict[Kind, str] = {
    "name": "names",
    "phone": "phone numbers",
    "e-mail": "e-mail addresses",
    "address": "addresses",
    "date": "dates of birth",
}
OF_THINGS = re.compile(r"product|company|file|state|country|city|column|host|table|team")


def kind_in_header(name: str) -> Kind | None:
    """Return the kind that the words of a header speak of, None when they speak of things."""
    words = _words(name)
    if any(map(OF_THINGS.fullmatch, words)):
        return None
    return next((kind for kind, word in HEADERS.items() if any(map(word.fullmatch, words))), None)


def year_of(value: str) -> str | None:
    """Return the four digits of the year when `value` is a date or a year, otherwise None."""
    found = DATE.fullmatch(value.strip())
    if found:
        return found["iso"] or found["dotted"]
    return value.strip() if re.fullmatch(r"[12]\d{3}", value.strip()) else None


def matches(filled: Sequence[str], shape: re.Pattern[str]) -> int:
    """Count the values that have the shape from their first character to their last."""
    return sum(1 for value in filled if len(value) <= LONGEST and shape.fullmatch(value))


def _words(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W\d_]+", apart.lower())
