"""The inbox: pages for the people who decide, served beside the HTTP API.

`hitl_router(client, workflows, inbox=Inbox())` has them at `/inbox`. Plain HTML that works without
JavaScript; a page action does what the HTTP API's call of the same name does.
"""

from temporal_hitl.http.inbox._pages import Inbox
from temporal_hitl.http.inbox._router import inbox_router

__all__ = ["Inbox", "inbox_router"]
