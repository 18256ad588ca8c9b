"""The recorder bound to one run: for pipelines that would name it in every line."""

from __future__ import annotations

import contextlib
import functools
import inspect
import time
import traceback
from typing import TYPE_CHECKING, Any

from django.db import transaction

from audit.errors import AuditError, DatabaseUnavailable, TransactionLost
from audit.recorder import execution, runs
from audit.vocabulary import NodeStateStatus, RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from audit.models import NodeState

_MAX_TRACEBACK = 20_000


class Visit:
    """An open node state; say what came of it, and leaving the block records the end."""

    def __init__(self, state: NodeState) -> None:
        self.state = state
        self.output: object = None
        self.error: object = None
        self.status = NodeStateStatus.COMPLETED

    @property
    def state_id(self) -> str:
        return str(self.state.state_id)

    def complete(self, output: object) -> None:
        """It worked; `output` is what the token carries on."""
        self.output = output

    def fail(self, error: object) -> None:
        """It did not, and that is a result and no exception."""
        self.status, self.error = NodeStateStatus.FAILED, error

    def wait(self) -> None:
        """It is not over: the answer comes later."""
        self.status = NodeStateStatus.PENDING


class RunRecorder:
    """Every function of the recorder without `run_id` and `at`: `fork_token(token_id=…)`.

    `now` is the pipeline's clock; an `at` that is given wins over it.
    """

    def __init__(self, run_id: str, *, now: Callable[[], datetime]) -> None:
        self.run_id = run_id
        self.now = now

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The function of that name, with this run.

        Raises:
            AttributeError: the recorder has no such function for a run.
        """
        # Not above: the package imports this module before it knows what it exports.
        from audit import recorder

        function = getattr(recorder, name) if name in recorder.__all__ else None
        parts = inspect.signature(function).parameters if function is not None else {}
        if function is None or "run_id" not in parts:
            raise AttributeError(f"the recorder has no {name} for a run")

        @functools.wraps(function)
        def call(**told: Any) -> Any:
            if "at" in parts:
                told.setdefault("at", self.now())
            return function(run_id=self.run_id, **told)

        return call

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make several events one: all of them are recorded, or none.

        Raises:
            TransactionLost: one of them failed, its error was caught, and the block went on.
        """
        with transaction.atomic():
            yield
            if transaction.get_rollback():
                raise TransactionLost("an event failed, and its error was not heeded")

    @contextlib.contextmanager
    def node_state(
        self,
        *,
        token_id: str,
        node_id: str,
        step_index: int,
        input_data: object,
        attempt: int | None = None,
        context_before: Mapping[str, Any] | None = None,
    ) -> Iterator[Visit]:
        """A visit that cannot be left open by accident.

        An exception fails it, is recorded as its error, and goes on. The block itself is no
        transaction: what happens in it stays on record when it fails.
        """
        state = execution.begin_node_state(
            run_id=self.run_id,
            token_id=token_id,
            node_id=node_id,
            step_index=step_index,
            input_data=input_data,
            attempt=attempt,
            context_before=context_before,
            at=self.now(),
        )
        visit, began = Visit(state), time.perf_counter()
        try:
            yield visit
            if visit.status == NodeStateStatus.COMPLETED and visit.output is None:
                raise ValueError("the block ended without visit.complete(output)")
        except DatabaseUnavailable:
            # The end of the visit could not be told either.
            raise
        except Exception as error:
            visit.fail(_told(error))
            visit.output = None
            with contextlib.suppress(AuditError):
                # What went wrong first is what the pipeline must hear of.
                self._end(visit, began)
            raise
        self._end(visit, began)

    def _end(self, visit: Visit, began: float) -> None:
        visit.state = execution.complete_node_state(
            run_id=self.run_id,
            state_id=visit.state_id,
            status=visit.status,
            output_data=visit.output,
            error=visit.error,
            duration_ms=(time.perf_counter() - began) * 1000,
            at=self.now(),
        )

    @contextlib.contextmanager
    def run(self) -> Iterator[RunRecorder]:
        """A run that cannot be left running by accident: complete, or failed by an exception."""
        try:
            yield self
        except DatabaseUnavailable:
            raise
        except BaseException:
            runs.complete_run(run_id=self.run_id, status=RunStatus.FAILED, at=self.now())
            raise
        runs.complete_run(run_id=self.run_id, status=RunStatus.COMPLETED, at=self.now())


def _told(error: Exception) -> dict[str, str]:
    """An exception in the shape that the original records."""
    return {
        "exception": _clean(str(error)),
        "type": type(error).__name__,
        "traceback": _clean("".join(traceback.format_exception(error))[-_MAX_TRACEBACK:]),
    }


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
