"""What can be wrong, in words. One class per thing, worded once."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db.utils import DatabaseError, OperationalError

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class AuditError(Exception):
    """Base of everything that contradicts the record or cannot become part of it."""


class NotRecorded(AuditError):
    """There is no such record."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"no {kind} {key} is on record")
        self.kind = kind
        self.key = key


class AccessNotKept(AuditError):
    """The access log cannot be written, so nothing may be given."""

    def __init__(self) -> None:
        super().__init__("the access log cannot be written, so nothing is given")


class ValueRefused(AuditError, ValueError):
    """A value cannot become part of the record; `path` leads to the offending part of it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class RunMismatch(AuditError):
    """It is on record, but under another run than the one asked about."""

    def __init__(self, kind: str, key: str, *, asked: str, actual: str) -> None:
        super().__init__(f"{kind} {key} belongs to run {actual}, not {asked}")
        self.kind = kind
        self.key = key
        self.asked = asked
        self.actual = actual


class TokenAmbiguous(AuditError):
    """A row ended in more than one token, and one was asked for.

    Each of the `candidates` has `token_id`, `branch`, `outcome` and `sink`; `total` counts all.
    """

    def __init__(self, row_id: str, candidates: list[dict[str, str | None]], *, total: int) -> None:
        told = ", ".join(_candidate(one) for one in candidates)
        more = f", and {total - len(candidates):,} more" if total > len(candidates) else ""
        super().__init__(f"row {row_id} ended in {total:,} tokens; say which: {told}{more}")
        self.row_id = row_id
        self.candidates = candidates
        self.total = total


def _candidate(token: dict[str, str | None]) -> str:
    parts = [f"branch {token['branch']}" if token["branch"] is not None else None]
    parts.append(token["outcome"] or "no outcome")
    parts.append(f"sink {token['sink']}" if token["sink"] is not None else None)
    return f"{token['token_id']} ({', '.join(part for part in parts if part)})"


class RunEnded(AuditError):
    """The run has ended: nothing more can happen in it."""

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(f"run {run_id} is {status}: it takes no more records")
        self.run_id = run_id
        self.status = status


class RunUnfinished(AuditError):
    """The run cannot be complete: something in it has not come to an end."""

    def __init__(self, run_id: str, what: str, keys: list[str]) -> None:
        super().__init__(f"run {run_id} cannot be complete: {what}: {', '.join(keys)}")
        self.run_id = run_id
        self.keys = keys


class TokenEnded(AuditError):
    """The token has a final outcome: nothing more can happen to it."""

    def __init__(self, token_id: str, outcome: str) -> None:
        super().__init__(f"token {token_id} already ended: {outcome}")
        self.token_id = token_id
        self.outcome = outcome


class DuplicateOutcome(TokenEnded):
    """A second final outcome for one token."""


class RecordEnded(AuditError):
    """A node state, batch or operation has ended: nothing can be hung on it any more."""

    def __init__(self, kind: str, key: str, status: str) -> None:
        super().__init__(f"{kind} {key} is {status}: it takes nothing more")
        self.kind = kind
        self.key = key
        self.status = status


class IllegalTransition(AuditError):
    """A record cannot go from the status that it has to the one asked for."""

    def __init__(self, kind: str, key: str, *, status: str, to: str) -> None:
        super().__init__(f"{kind} {key} is {status} and cannot become {to}")
        self.kind = kind
        self.key = key
        self.status = status
        self.to = to


class ConflictingRecord(AuditError):
    """The id is on record with other content; `columns` name what differs."""

    def __init__(self, kind: str, key: str, columns: list[str]) -> None:
        super().__init__(f"{kind} {key} is on record with another {', '.join(columns)}")
        self.kind = kind
        self.key = key
        self.columns = columns


class AlreadyRecorded(AuditError):
    """A rule of uniqueness: another record of the run has taken this place."""

    def __init__(self, kind: str, place: str) -> None:
        super().__init__(f"another {kind} has {place}")
        self.kind = kind
        self.place = place


class ContractViolated(AuditError):
    """The parts of a record do not go together; the sentence says which."""


class PayloadNotKept(AuditError):
    """The payload store did not take the bytes, so nothing that refers to them is recorded."""

    def __init__(self, ref: str, reason: str) -> None:
        super().__init__(f"the payload store did not take {ref}: {reason}")
        self.ref = ref
        self.reason = reason


class DatabaseFault(AuditError, OperationalError):
    """The database did not do it: nothing of the transaction is on record.

    Only after a COMMIT without an answer nobody knows; the same calls with the same ids are right
    in either case. Also an error of Django's, so whoever catches those catches these.
    """

    advice: ClassVar[str] = "the database did not do it"

    def __init__(self, told: str) -> None:
        super().__init__(f"{self.advice}: {told}")


class DatabaseUnavailable(DatabaseFault):
    """It is down, starting, cut off or silent."""

    advice = "the database does not answer; tell it again, with the same ids, once it does"


class DatabaseBusy(DatabaseFault):
    """Somebody else was in the way, or it took too long."""

    advice = "the database is busy; make the whole transaction again"


class DatabaseReadOnly(DatabaseFault):
    """It takes no records: a standby, or switched to reading."""

    advice = "the database is read-only; end that, or name the primary server"


class DatabaseFull(DatabaseFault):
    """Its disk has no room left."""

    advice = "the database's disk is full; make room, then tell it again"


class DatabaseForbids(DatabaseFault):
    """The login lacks a right that it was given by `manage.py migrate`, or may not come in."""

    advice = "the database does not let this login do it; ask `manage.py check_schema`"


class TransactionLost(DatabaseFault):
    """A statement failed, and the transaction went on as if it had not."""

    advice = "nothing of this transaction is on record; make the whole of it again"


class GuardRefused(AuditError, DatabaseError):
    """The database holds the trail against this statement, whoever sends it."""

    def __init__(self, told: str) -> None:
        super().__init__(told)


class TrailOnlyGrows(GuardRefused):
    """Removing or rewriting a record (SQLSTATE LS001)."""


class TransitionRefused(GuardRefused):
    """A status that does not follow on the one on record (SQLSTATE LS002)."""


class ColumnFixed(GuardRefused):
    """Changing a column that never changes (SQLSTATE LS003)."""


class RetentionRefused(GuardRefused):
    """A hold, an approval or a purge that is not as it must be (SQLSTATE LS004)."""


class ConnectedOtherwise(AuditError):
    """This process is configured for something else than what is asked for."""

    def __init__(self, actual: str, *, asked: str) -> None:
        super().__init__(f"this process is connected to {actual}, not to {asked}")
        self.actual = actual
        self.asked = asked


class NotConnected(AuditError):
    """There is no database yet."""

    def __init__(self) -> None:
        super().__init__("this process has no database yet: call recorder.connect(url) first")


class NotLandscape(AuditError):
    """The database is not Landscape's, or another version's; the sentence says which."""


class SchemaMismatch(AuditError):
    """The live database is not the one that this version of Landscape was written for."""

    def __init__(self, differences: list[str]) -> None:
        lines = "\n".join(f"  - {line}" for line in differences)
        super().__init__(
            f"The database differs from the models in {len(differences)} places:\n{lines}"
        )
        self.differences = differences


class SourceRefused(AuditError):
    """A file cannot be imported at all; the sentence says why and what to do."""


class RunRefused(AuditError):
    """One run of a file cannot be imported; every offending key is listed."""

    def __init__(self, run_id: str, problems: list[dict[str, str]]) -> None:
        first = problems[0]["message"] if problems else "unknown reason"
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"run {run_id}: {first}{more}")
        self.run_id = run_id
        self.problems = problems


class CannotBeSealed(AuditError):
    """A run cannot be sealed as it stands; the sentence says why."""

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(f"run {run_id} cannot be sealed: {reason}")
        self.run_id = run_id
        self.reason = reason


class AccessLogBroken(AuditError):
    """The access log is not what was written, and is not signed; the sentence says where."""

    def __init__(self, where: str) -> None:
        super().__init__(f"the access log is broken: {where}")


class BeingSealed(CannotBeSealed):
    """Another process is sealing the run at this moment."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id, "another process is sealing it")


class SealContradicted(CannotBeSealed):
    """What was sealed has changed in a way that no event explains: it is not sealed again."""

    def __init__(self, run_id: str, records: list[str]) -> None:
        super().__init__(
            run_id,
            f"it no longer is what was sealed, and nothing explains it: {', '.join(records)}. "
            "manage.py check_trail shows every such record.",
        )
        self.records = records


class NoSigningKey(AuditError):
    """Nothing can be signed here; the sentence says what is missing."""


class CannotBeExported(AuditError):
    """A run cannot be exported as it stands; the sentence says why."""

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(f"run {run_id} cannot be exported: {reason}")
        self.run_id = run_id
        self.reason = reason


class UploadRefused(AuditError):
    """An upload is not taken in at all; the sentence says why, with numbers."""

    def __init__(self, text: str, *, too_large: bool = False) -> None:
        super().__init__(text)
        self.too_large = too_large


class TokenRefused(AuditError):
    """An API token gives nothing; why is for the access log, not for whoever showed it."""

    def __init__(self, why: str, *, owner: User | None = None) -> None:
        super().__init__(f"an API token was refused: {why}")
        self.why = why
        self.owner = owner


class TooManyTokens(AuditError):
    """Somebody has as many API tokens as one may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"There may be {most} tokens at a time: revoke one first.")
