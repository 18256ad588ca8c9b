"""Retention: how long contents are kept, what is held, and how the rest is deleted and proven.

The trail stays; payload bytes go. `policies`, `holds` and `plans` write what people decided,
`deciding` is the one decision about payloads, `purging` executes a plan, `grading` lowers what a
run can promise, `certificates` signs what was done, `hiding` takes runs off the lists.
Doors ask for permission (`audit/access.py`) and record the access; the database asks again for
whoever approves or releases.
"""

from __future__ import annotations

from audit.retention.certificates import item_lines
from audit.retention.hiding import hide_run, restore_run
from audit.retention.holds import ask_release, confirm_release, place_hold, withdraw_release
from audit.retention.plans import approve, begin, decline, preview, stop
from audit.retention.policies import end_policy, set_policy
from audit.retention.purging import due, execute, note_problem

__all__ = [
    "approve",
    "ask_release",
    "begin",
    "confirm_release",
    "decline",
    "due",
    "end_policy",
    "execute",
    "hide_run",
    "item_lines",
    "note_problem",
    "place_hold",
    "preview",
    "restore_run",
    "set_policy",
    "stop",
    "withdraw_release",
]
