"""What every page stands on: who looks at it, how it is rendered, and how a problem is told.

Owns the headers of every answer and the check of every form that is posted.
"""

# jinja2's own signatures hold Unknowns.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, cast
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException

from temporal_hitl.http._access import Caller, NotAllowed, NotAuthenticated, Role
from temporal_hitl.http._problems import Handler, Limited, told
from temporal_hitl.http._service import Service
from temporal_hitl.http.inbox import _words
from temporal_hitl.http.inbox._sessions import Session, Sessions
from temporal_hitl.http.inbox._words import Words
from temporal_hitl.requirements import AnyRequirement

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Without any referrer, a browser says of our own forms that they come from nowhere.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FIELDS = 2_000
"""How many fields a form may have."""
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Inbox:
    """How the pages are served."""

    key: str | None = field(default=None, repr=False)
    """The secret that signs sessions, the same in every process that serves them. Without one each
    process has its own: who has signed in does so again when it is replaced."""
    lasts: timedelta = timedelta(hours=12)
    """After how long who has signed in does so again."""
    web_ui: str | None = None
    """The address of the Temporal Web UI, for links to runs."""


class Pages:
    """The pages of one service."""

    def __init__(self, service: Service, inbox: Inbox) -> None:
        self.service = service
        self.inbox = inbox
        self.sessions = Sessions(inbox.key, inbox.lasts, service.authenticator)
        self.templates = Environment(
            loader=PackageLoader("temporal_hitl.http.inbox"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        cast(dict[str, Any], self.templates.globals)["w"] = Words
        names = ("who", "what", "moment", "age", "due")
        filters = cast(dict[str, Any], self.templates.filters)
        filters.update({name: getattr(_words, name) for name in names})


@dataclass
class Page:
    """One request for a page, and who it is that looks."""

    request: Request
    pages: Pages
    session: Session
    is_new: bool
    caller: Caller | None = None

    @property
    def here(self) -> Service:
        """What the pages show."""
        return self.pages.service

    @property
    def base(self) -> str:
        """The path below which the pages are."""
        return self.request.url_for("inbox_list").path

    @property
    def csrf(self) -> Markup:
        """The field that every form of ours carries."""
        return Markup('<input type="hidden" name="csrf" value="{}">').format(self.session.csrf)

    def run(self, run_id: str) -> str:
        """Return the path of a run's page."""
        return f"{self.base}/runs/{quote(run_id, safe='')}"

    def requirement(self, run_id: str, requirement_id: str) -> str:
        """Return the path of a requirement's page."""
        return f"{self.run(run_id)}/requirements/{quote(requirement_id, safe='')}"

    def web_ui(self, run_id: str) -> str | None:
        """Return the run's page in the Temporal Web UI, where one is configured."""
        address = self.pages.inbox.web_ui
        if address is None:
            return None
        namespace = quote(self.here.client.client.namespace, safe="")
        return f"{address.rstrip('/')}/namespaces/{namespace}/workflows/{quote(run_id, safe='')}"

    def may(self, role: str) -> bool:
        """Return whether whoever looks has a role."""
        return self.caller is not None and role in self.caller.roles

    def may_answer(self, asked: AnyRequirement) -> bool:
        """Return whether the answers of whoever looks are signed as what `asked` is for."""
        name = self.caller and (self.caller.user or self.caller.signs_as)
        is_signed = self.here.signer is not None and bool(name) and name not in asked.excludes
        return not asked.roles or (is_signed and any(map(self.may, asked.roles)))

    def who(self, role: Role) -> Caller:
        """Return who looks; raises `NotAllowed` unless they have `role`."""
        assert self.caller is not None, "only who may look comes so far"
        self.caller.must_be(role)
        return self.caller

    def render(self, template: str, status: int = 200, **data: Any) -> Response:
        """Return a page."""
        text = self.pages.templates.get_template(template).render(
            page=self, now=datetime.now(UTC), **data
        )
        return HTMLResponse(text, status)

    def go(self, path: str) -> Response:
        """Send the browser to another page, which it gets."""
        return RedirectResponse(path, 303)

    def to_sign_in(self) -> Response:
        """Send the browser to sign in, and then back here."""
        back = self.request.url.path
        if self.request.url.query:
            back += f"?{self.request.url.query}"
        return self.go(f"{self.base}/login?{urlencode({'next': back})}")

    def finish(self, response: Response) -> Response:
        """Give a response what all of them have."""
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if self.is_new:
            self.pages.sessions.keep(self.session, self.request, response, self.base)
        return response


def opened(pages: Pages) -> Any:
    """Return the dependency that every page begins with."""

    async def begin(request: Request) -> None:
        session = pages.sessions.read(request)
        made = session or pages.sessions.new()
        request.state.hitl_page = Page(request, pages, made, is_new=session is None)

    return begin


def _anybodys(request: Request) -> Page:
    return request.state.hitl_page


async def _known(request: Request) -> Page:
    page: Page = request.state.hitl_page
    caller = page.session.caller or await page.here.authenticator.authenticate(request)
    if not caller.roles:
        raise NotAllowed(f"{caller.user!r} has no role, and so may not even look")
    page.caller = caller
    return page


AnybodysPage = Annotated[Page, Depends(_anybodys)]
"""A page that needs nobody to have signed in."""
Visit = Annotated[Page, Depends(_known)]
"""A page for whoever may look."""


class Posted:
    """The fields of a form that was sent."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def all(self, name: str) -> list[str]:
        """Return each value of a field, in order."""
        return [value for field, value in self._fields if field == name]

    def text(self, name: str) -> str:
        """Return what was written into a field, with the line ends that everybody else uses."""
        return (self.all(name) or [""])[0].replace("\r\n", "\n")

    def said(self, name: str) -> str | None:
        """Return what was written into a field; None where that is nothing."""
        return self.text(name).strip() or None


async def _posted(request: Request) -> Posted:
    page: Page = request.state.hitl_page
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise HTTPException(415, f"a form is sent as {_FORM}")
    try:
        text = (await request.body()).decode()
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS, errors="strict")
    except ValueError as error:
        raise HTTPException(400, f"this is no form: {error}") from None
    posted = Posted(fields)
    if not page.session.is_from_us(posted.text("csrf")):
        raise HTTPException(403, Words.stale_form)
    return posted


Form = Annotated[Posted, Depends(_posted)]
"""A form, which comes from a page of ours."""


class PageRoute(APIRoute):
    """A route that tells what goes wrong as a page."""

    def get_route_handler(self) -> Handler:
        """Return the handler, with the mapping around it."""
        handle = super().get_route_handler()

        async def mapped(request: Request) -> Response:
            limited = Limited(request.scope, request.receive)
            try:
                response = await handle(limited)
            except Exception as error:
                response = _told(limited.state.hitl_page, error)
            return limited.state.hitl_page.finish(response)

        return mapped


def _told(page: Page, error: Exception) -> Response:
    if isinstance(error, NotAuthenticated):
        return page.to_sign_in()
    refusal = told(error)
    if refusal is None:
        raise error
    problem = refusal.problem
    response = page.render("problem.html", problem.status, problem=problem)
    response.headers.update(_without_type(refusal.headers or {}))
    return response


def _without_type(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() != "content-type"}
