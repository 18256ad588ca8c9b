"""What every session of the application's login is held to, whichever program opens it.

Known to the settings of the web process, to pipelines outside this project, and to
`check_schema`, which asks a live connection. No Django here: settings import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# A lock that nobody releases and a transaction that nobody ends are errors within seconds.
APPLICATION = {
    "statement_timeout": "4000",
    "lock_timeout": "3000",
    "idle_in_transaction_session_timeout": "60000",
    "TimeZone": "UTC",
    "application_name": "landscape",
}
# Seconds for which the client itself waits for an answer, a little longer than the server's own.
PATIENCE = 4.5


def held_to(
    session: Mapping[str, str], *, given: Mapping[str, Any], patience: float | None
) -> dict[str, Any]:
    """The OPTIONS of an `audit.postgresql` whose sessions have these settings from their start."""
    limits = " ".join(
        f"-c {name}={value}" for name, value in session.items() if name != "application_name"
    )
    return {
        "connect_timeout": 4,
        **given,
        "application_name": session["application_name"],
        "patience": patience,
        "options": f"{given.get('options', '')} {limits}".strip(),
    }
