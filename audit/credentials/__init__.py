"""What people prove who they are with: second factors, sessions, tokens of their programs."""

from __future__ import annotations

from audit.credentials.factors import (
    ASKED_ELSEWHERE,
    Factor,
    ask_again,
    describe_factor,
    is_fresh,
    lacks_second_factor,
    must_have_second_factor,
)
from audit.credentials.sessions import SessionLine, end_other_sessions, end_session, list_sessions
from audit.credentials.tokens import (
    LONGEST_DAYS,
    MOST_LIVE,
    TokenLine,
    TokenUse,
    count_refused,
    list_tokens,
    make_token,
    recognise_token,
    revoke_token,
)

__all__ = [
    "ASKED_ELSEWHERE",
    "LONGEST_DAYS",
    "MOST_LIVE",
    "Factor",
    "SessionLine",
    "TokenLine",
    "TokenUse",
    "ask_again",
    "count_refused",
    "describe_factor",
    "end_other_sessions",
    "end_session",
    "is_fresh",
    "lacks_second_factor",
    "list_sessions",
    "list_tokens",
    "make_token",
    "must_have_second_factor",
    "recognise_token",
    "revoke_token",
]
