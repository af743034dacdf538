"""Pages as a browser without JavaScript sees them: text, links, forms, and what they send."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

from httpx2 import AsyncClient, Response

VOID = {"input", "meta", "link", "br", "hr", "img"}


@dataclass
class Element:
    """An element, with what is in it."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Every element below this one of a tag, and with these attributes."""
        wanted = {name.rstrip("_").replace("_", "-"): text for name, text in attributes.items()}
        below = [each for each in self.children if isinstance(each, Element)]
        found = [
            each for each in below if each.tag == tag and wanted.items() <= each.attributes.items()
        ]
        return [*found, *(inner for each in below for inner in each.all(tag, **attributes))]

    def one(self, tag: str, **attributes: str) -> Element:
        """The only such element."""
        (found,) = self.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        """All text in it, with single spaces."""
        parts = (each if isinstance(each, str) else each.text for each in self.children)
        return " ".join(" ".join(parts).split())

    @property
    def raw(self) -> str:
        """All text in it, as it is."""
        return "".join(each if isinstance(each, str) else each.raw for each in self.children)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("root", {})
        self.path = [self.root]
        self.attributes: list[dict[str, str]] = []
        """Of every element of the page."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {name: text or "" for name, text in attrs})
        self.attributes.append(made.attributes)
        self.path[-1].children.append(made)
        if tag not in VOID:
            self.path.append(made)

    def handle_endtag(self, tag: str) -> None:
        assert self.path[-1].tag == tag, f"</{tag}> closes <{self.path[-1].tag}>"
        self.path.pop()

    def handle_data(self, data: str) -> None:
        first = self.path[-1].tag in ("textarea", "pre") and not self.path[-1].children
        self.path[-1].children.append(data.removeprefix("\n") if first else data)


REFERENCES = ("for", "aria-describedby", "aria-labelledby", "aria-controls")


def read(response: Response) -> Element:
    """Return the page that an answer is; every element in it is closed, every id is there once, and
    every label and hint is somebody's.
    """
    assert response.headers["content-type"] == "text/html; charset=utf-8", response.text
    reader = _Reader()
    reader.feed(response.text)
    reader.close()
    assert reader.path == [reader.root], f"open: {[each.tag for each in reader.path]}"
    ids = [each["id"] for each in reader.attributes if "id" in each]
    assert len(ids) == len(set(ids)), f"there twice: {sorted(e for e in ids if ids.count(e) > 1)}"
    refers = [each.get(key, "") for each in reader.attributes for key in REFERENCES]
    named = {each for reference in refers for each in reference.split()}
    assert named <= set(ids), f"refers to nothing: {sorted(named - set(ids))}"
    return reader.root


def fields(form: Element) -> list[tuple[str, str]]:
    """Return what a form sends as it stands, without its buttons."""
    found = list[tuple[str, str]]()
    for each in form.all("input"):
        named, kind = each.attributes.get("name"), each.attributes.get("type", "text")
        if named and (kind not in ("checkbox", "radio") or "checked" in each.attributes):
            found.append((named, each.attributes.get("value", "")))
    found += [(each.attributes["name"], each.raw) for each in form.all("textarea")]
    for each in form.all("select"):
        options = each.all("option")
        chosen = [option for option in options if "selected" in option.attributes] or options[:1]
        found += [(each.attributes["name"], chosen[0].attributes.get("value", chosen[0].text))]
    return found


async def send(
    http: AsyncClient, page: Element, form: str | None = None, **written: Any
) -> Response:
    """Send a form of a page, found by its id, with what is written into its fields."""
    found = page.one("form", id=form) if form else page.one("form", method="post", class_="answer")
    changed = {name.replace("__", "."): text for name, text in written.items()}
    said = [(name, text) for name, text in fields(found) if name not in changed]
    for name, text in changed.items():
        said += [(name, each) for each in (text if isinstance(text, list) else [text])]
    return await post(http, found.attributes["action"], said)


async def post(http: AsyncClient, path: str, said: list[tuple[str, str]]) -> Response:
    """Post fields as a browser does."""
    body = urlencode([(name, text.replace("\n", "\r\n")) for name, text in said])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return await http.post(path, content=body, headers=headers)
