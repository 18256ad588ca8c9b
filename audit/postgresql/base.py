"""The database as Landscape meets it: what it refuses has a name, and silence is an error.

The engine of both logins. Every way to the database leads through here, connecting and COMMIT
too, so nothing above has to think of outages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from django.db.backends.postgresql.base import DatabaseWrapper as PostgreSQL
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property
from psycopg.pq import TransactionStatus

from audit import errors

if TYPE_CHECKING:
    from types import TracebackType

_WAKES_EVERY = 0.1

_GUARDS = {
    "LS001": errors.TrailOnlyGrows,
    "LS002": errors.TransitionRefused,
    "LS003": errors.ColumnFixed,
    "LS004": errors.RetentionRefused,
}
# SQLSTATEs, or their classes of two characters.
_FAULTS: dict[str, type[errors.DatabaseFault]] = {
    "08": errors.DatabaseUnavailable,
    "25006": errors.DatabaseReadOnly,
    "25P02": errors.TransactionLost,
    "25P03": errors.DatabaseUnavailable,
    "28": errors.DatabaseForbids,
    "40001": errors.DatabaseBusy,
    "40P01": errors.DatabaseBusy,
    "42501": errors.DatabaseForbids,
    "53": errors.DatabaseBusy,
    "53100": errors.DatabaseFull,
    "55P03": errors.DatabaseBusy,
    "57014": errors.DatabaseBusy,
    "57P": errors.DatabaseUnavailable,
    "58": errors.DatabaseUnavailable,
}


class Connection(psycopg.Connection[Any]):
    """A connection on which nobody waits for more than `patience` seconds for an answer."""

    patience: float | None = None

    def wait(self, gen: Any, interval: float = _WAKES_EVERY, timeout: float | None = None) -> Any:
        """Wait as psycopg does; everything that is sent or read goes through it."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.patience)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001  # told by the documentation of `wait`
            # What it still says would be taken for the answer to something else.
            self.pgconn.finish()
            told = f"no answer from the server within {self.patience} s"
            raise psycopg.OperationalError(told) from None


def named(error: psycopg.Error) -> errors.AuditError | None:
    """The name of what is wrong; None where it is nothing of the database's own."""
    state, told = error.sqlstate, str(error).strip()
    if state is None:
        # From psycopg itself: refused, cut off, closed, silent.
        lost = isinstance(error, psycopg.OperationalError)
        return errors.DatabaseUnavailable(told) if lost else None
    if state in _GUARDS:
        return _GUARDS[state](told)
    fault = _FAULTS.get(state) or _FAULTS.get(state[:3]) or _FAULTS.get(state[:2])
    return fault(told) if fault else None


class NamedErrors(DatabaseErrorWrapper):
    """Raises ours where Django would raise its own; psycopg's is the cause."""

    wrapper: DatabaseWrapper

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, psycopg.Error):
            ours = named(error)
            if ours is not None:
                self.wrapper.errors_occurred = True
                if isinstance(ours, errors.DatabaseUnavailable):
                    self.wrapper.forget()
                raise ours.with_traceback(traceback) from error
        super().__exit__(kind, error, traceback)


class DatabaseWrapper(PostgreSQL):
    """Django's connection. OPTIONS may hold `patience`, in seconds; without, it waits for ever."""

    connection: Connection | None

    @cached_property
    def wrap_database_errors(self) -> NamedErrors:
        return NamedErrors(self)

    def get_connection_params(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in super().get_connection_params().items()
            if name != "patience"
        }

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        self.isolation_level = IsolationLevel.READ_COMMITTED
        connection = Connection.connect(**conn_params)
        connection.patience = self._patience
        return connection

    @property
    def _patience(self) -> float | None:
        patience: float | None = self.settings_dict["OPTIONS"].get("patience")
        return patience

    def be_patient(self, seconds: float | None = None) -> None:
        """Wait longer for answers, or for ever, until the transaction ends."""
        assert self.connection is not None, "only in a transaction"
        self.connection.patience = seconds

    def forget(self) -> None:
        """Let the next use connect anew: this connection leads nowhere any more."""
        if self.connection is None:
            return
        self.connection.close()
        # Also after COMMIT: Django would connect at once, only to leave the block.
        self.closed_in_transaction = True
        if self.in_atomic_block:
            self.needs_rollback = True
        else:
            self.connection = None

    def commit(self) -> None:
        lost = TransactionStatus.INERROR
        if self.connection is not None and self.connection.pgconn.transaction_status == lost:
            # PostgreSQL would answer COMMIT with a quiet ROLLBACK.
            raise errors.TransactionLost("a statement failed, and its error was not heeded")
        super().commit()
        self._be_as_patient_as_ever()

    def rollback(self) -> None:
        super().rollback()
        self._be_as_patient_as_ever()

    def _be_as_patient_as_ever(self) -> None:
        if self.connection is not None:
            self.connection.patience = self._patience
