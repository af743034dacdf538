"""Tells people and programs of requirements: mail and chat by apprise, and signed webhooks.

Who is told by which name is the worker's environment (docs/notifications.md); the packages of the
extra `notify` are imported when something is sent. A notice asks for nothing that a link could
answer.
"""

from temporal_hitl.notifications._activities import telling_activities, warn_of_unknown
from temporal_hitl.notifications._subscribers import configured

__all__ = ["configured", "telling_activities", "warn_of_unknown"]
