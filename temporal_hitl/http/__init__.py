"""The HTTP API: pipelines, runs and requirements over one client, for any FastAPI application.

`app.include_router(hitl_router(client, workflows=[...]))`. Needs the extra `api`.
"""

from temporal_hitl.http._access import (
    Authenticator,
    BearerTokens,
    Caller,
    LoopbackOnly,
    NotAllowed,
    NotAuthenticated,
    Role,
    Token,
    is_loopback,
    is_role,
    new_token,
)
from temporal_hitl.http._application import hitl_application
from temporal_hitl.http._problems import FieldProblem, Problem, tell_problems
from temporal_hitl.http._router import hitl_router
from temporal_hitl.http.inbox import Inbox

__all__ = [
    "Authenticator",
    "BearerTokens",
    "Caller",
    "FieldProblem",
    "Inbox",
    "LoopbackOnly",
    "NotAllowed",
    "NotAuthenticated",
    "Problem",
    "Role",
    "Token",
    "hitl_application",
    "hitl_router",
    "is_loopback",
    "is_role",
    "new_token",
    "tell_problems",
]
