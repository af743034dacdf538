"""Sign in with a bearer token, and out again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from temporal_hitl.http._access import NotAuthenticated
from temporal_hitl.http.inbox._pages import AnybodysPage, Form, Page, PageRoute
from temporal_hitl.http.inbox._words import Words

router = APIRouter(route_class=PageRoute)

LONGEST = 1_000
"""Characters that a token may have."""
Next = Annotated[str, Query(alias="next", max_length=10_000)]


@router.get("/inbox/login")
async def ask_token(page: AnybodysPage, to: Next = "") -> Response:
    """Ask for a token."""
    return page.render("login.html", to=to, problem=None)


@router.post("/inbox/login")
async def sign_in(page: AnybodysPage, request: Request, posted: Form) -> Response:
    """Begin a session of whoever the token belongs to."""
    to, token = posted.text("next"), posted.text("token").strip()
    try:
        if not token.isascii() or not token.isprintable() or len(token) > LONGEST:
            raise NotAuthenticated(Words.unknown_token)
        session = await page.pages.sessions.sign_in(request, token)
    except NotAuthenticated:
        return page.render("login.html", 401, to=to, problem=Words.unknown_token)
    page.session, page.is_new = session, True
    return page.go(to if _is_ours(page, to) else page.base)


def _is_ours(page: Page, path: str) -> bool:
    plain = path.isascii() and path.isprintable() and "\\" not in path
    return plain and (path == page.base or path.startswith((f"{page.base}/", f"{page.base}?")))


@router.post("/inbox/logout")
async def sign_out(page: AnybodysPage, _: Form) -> Response:
    """End the session."""
    page.session = page.pages.sessions.new()
    page.is_new = True
    return page.go(f"{page.base}/login")
