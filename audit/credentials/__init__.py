"""What people prove who they are with: second factors and sessions, of allauth and Django."""

from __future__ import annotations

from audit.credentials.factors import (
    Factor,
    ask_again,
    describe_factor,
    is_fresh,
    lacks_second_factor,
    must_have_second_factor,
)
from audit.credentials.sessions import SessionLine, end_other_sessions, end_session, list_sessions

__all__ = [
    "Factor",
    "SessionLine",
    "ask_again",
    "describe_factor",
    "end_other_sessions",
    "end_session",
    "is_fresh",
    "lacks_second_factor",
    "list_sessions",
    "must_have_second_factor",
]
