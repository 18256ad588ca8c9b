"""How one record is added: in one statement that asks everything first and spoils nothing.

The statement adds the record only if its run is going and everything that it names is there. If
it adds nothing, the reason is looked up and raised as a named error, and the transaction is as
good as before. Two writers of one id or one place are told apart by ON CONFLICT DO NOTHING.
"""

from __future__ import annotations

import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar, cast

import psycopg
from django.db import connection, models, transaction
from django.db.models import UniqueConstraint
from psycopg import sql

from audit.errors import (
    AlreadyRecorded,
    ConflictingRecord,
    NotRecorded,
    RunEnded,
    RunMismatch,
    TokenEnded,
    ValueRefused,
)
from audit.models import AUDIT_MODELS, Run, TokenOutcome
from audit.models.fields import CompositeForeignKey
from audit.recorder.guards import MUTABLE_COLUMNS
from audit.vocabulary import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

M = TypeVar("M", bound=models.Model)
W = TypeVar("W", bound=models.TextChoices)

# Characters, unless a column says otherwise. docs/recorder.md lists them.
MAX_ID = 64
MAX_NAME = 256
MAX_URI = 4_096
MAX_REASON = 1_000
MAX_ERROR = 10_000
MAX_JSON = 10_000_000
_LIMITS = {
    "path_or_uri": MAX_URI,
    "trigger_reason": MAX_REASON,
    "export_error": MAX_ERROR,
    "error_message": MAX_ERROR,
}
_MODELS = {model._meta.db_table: model for model in AUDIT_MODELS}
_MAX_INTEGER = 2**31 - 1
# Records of a session between which its plans are made anew: 512, 1,024 … 65,536.
_FIRST_PLANS = 9
_PLANS_SETTLED = 2**16
# What a column holds, and how PostgreSQL calls that.
_TYPES: dict[object, LiteralString] = {
    str: "text",
    int: "bigint",
    float: "float8",
    bool: "boolean",
    "instant": "timestamptz",
}


class _Prepared(psycopg.Cursor[Any]):
    """Parameters travel apart from the statement, and PostgreSQL keeps it parsed."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        return super().execute(query, params, **(options | {"prepare": True}))


@contextlib.contextmanager
def prepared() -> Iterator[Any]:
    """A cursor of Django's connection for statements that are sent again and again."""
    connection.ensure_connection()
    with connection.make_cursor(cast("Any", _Prepared(connection.connection))) as cursor:
        yield cursor


def wrote(records: int) -> None:
    """Let PostgreSQL plan anew each time that what this session has written has doubled.

    It keeps a session's plans, also those of its foreign keys. Made while the tables were all but
    empty, they read the whole run by whatever index begins with run_id, and go on doing so when
    the run has grown: 2,500 rows/s instead of 17,000 at the first 10,000 rows of a new database.
    """
    session = cast("Any", connection.connection)
    before = getattr(session, "landscape_wrote", 0)
    session.landscape_wrote = before + records
    if before < _PLANS_SETTLED and (before + records).bit_length() > max(
        before.bit_length(), _FIRST_PLANS
    ):
        with connection.wrap_database_errors:
            session.execute("DISCARD PLANS")


@contextlib.contextmanager
def one_event() -> Iterator[None]:
    """Several statements that are one event: joins the caller's transaction, without savepoint.

    Only where everything is asked before the first thing is written.
    """
    if connection.in_atomic_block:
        yield
    else:
        with transaction.atomic():
            yield


def new_id(at: datetime) -> str:
    """A UUID of version 7 in hex: new ids follow each other, so indexes grow at one end."""
    moment = int(at.timestamp() * 1000).to_bytes(6, "big")
    rest = bytearray(os.urandom(10))
    rest[0] = 0x70 | (rest[0] & 0x0F)
    rest[2] = 0x80 | (rest[2] & 0x3F)
    return (moment + rest).hex()


def word(words: type[W], value: object, name: str) -> W:
    """A member of a vocabulary, given as itself or as its exact text.

    Raises:
        ValueRefused: no such word; the message lists those that exist.
    """
    try:
        return words(cast("str", value))
    except ValueError as error:
        known = ", ".join(words.values)
        raise ValueRefused(name, f"{value!r:.80} is none of {known}") from error


def check(model: type[models.Model], values: Mapping[str, object]) -> None:
    """Refuse what the columns cannot hold, before anything is sent.

    Raises:
        ValueRefused: too long, not text, NUL, half a surrogate pair, no time zone, no integer.
    """
    fields = _fields(model)
    for name, value in values.items():
        if value is None:
            continue
        kind, limit = fields[name]
        if kind is str:
            _check_text(name, value, limit)
        elif kind is int:
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueRefused(name, f"{value!r:.80} is no integer")
            if not 0 <= value <= limit:
                raise ValueRefused(name, f"{value} is not between 0 and {limit}")
        elif kind is float:
            _check_duration(name, value)
        elif kind == "instant" and getattr(value, "tzinfo", None) is None:
            raise ValueRefused(name, f"{value!r:.80} is no moment with a time zone")


def _check_text(name: str, value: object, limit: int) -> None:
    if not isinstance(value, str):
        raise ValueRefused(name, f"{value!r:.80} is no text")
    if len(value) > limit:
        raise ValueRefused(name, f"{len(value):,} characters are more than {limit:,}")
    if not value.isascii() or "\0" in value:
        if "\0" in value:
            raise ValueRefused(name, f"a NUL at {value.index(chr(0))}, which no text may hold")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueRefused(name, "the text holds half of a surrogate pair") from error


def _check_duration(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueRefused(name, f"{value!r:.80} is no number")
    if not 0 <= value < float("inf"):
        raise ValueRefused(name, f"{value} is no duration")


@functools.cache
def _fields(model: type[models.Model]) -> dict[str, tuple[object, int]]:
    """What each column holds, and how much of it."""
    found: dict[str, tuple[object, int]] = {}
    for field in model._meta.concrete_fields:
        name = str(field.column)
        if isinstance(field, models.CharField):
            found[name] = (str, int(field.max_length or MAX_ID))
        elif isinstance(field, models.TextField):
            limit = MAX_JSON if name.endswith("_json") else _LIMITS.get(name, MAX_NAME)
            found[name] = (str, limit)
        elif isinstance(field, models.BigIntegerField):
            found[name] = (int, 2**63 - 1)
        elif isinstance(field, models.IntegerField):
            found[name] = (int, _MAX_INTEGER)
        elif isinstance(field, models.FloatField):
            found[name] = (float, 0)
        elif isinstance(field, models.DateTimeField):
            found[name] = ("instant", 0)
        else:
            found[name] = (bool, 0)
    return found


def add(
    model: type[M], values: dict[str, Any], *, kind: str, live_token: str | None = None
) -> tuple[M, bool]:
    """Add one record of a running run; return it, and whether it is new.

    With `live_token`, only if that token has no final outcome yet. An id that is on record with
    the same content gives the record as it stands: instants and what moves on are not compared.

    Raises:
        NotRecorded, RunMismatch: it names something that is not there, or is another run's.
        RunEnded: the run takes no more records.
        TokenEnded: `live_token` has a final outcome.
        ConflictingRecord: the id is on record with other content.
        AlreadyRecorded: another record has its place.
        ValueRefused: a value does not fit its column.
    """
    check(model, values)
    links = tuple(link.name for link in _links(model) if all(values.get(c) for c in link.columns))
    statement = _statement(model, tuple(values), links, live=live_token is not None)
    parameters = values if live_token is None else values | {"live_token": live_token}
    with prepared() as cursor:
        cursor.execute(statement, parameters)
        new = cursor.rowcount == 1
    if new:
        wrote(1)
        return _instance(model, values), True
    return explain(model, values, kind=kind, live_token=live_token), False


def _instance(model: type[M], values: Mapping[str, Any]) -> M:
    record = model(**values)
    record._state.adding = False
    record._state.db = connection.alias
    return record


@functools.cache
def _links(model: type[models.Model]) -> tuple[CompositeForeignKey, ...]:
    return tuple(
        each
        for each in model._meta.constraints
        if isinstance(each, CompositeForeignKey) and each.to_table != "runs"
    )


@functools.cache
def _statement(
    model: type[models.Model], columns: tuple[str, ...], links: tuple[str, ...], *, live: bool
) -> str:
    """INSERT … SELECT … FROM the running run, if all that it links to exists."""
    conditions: list[sql.Composable] = [
        sql.SQL("EXISTS (SELECT 1 FROM {} WHERE {})").format(
            sql.Identifier(link.to_table),
            sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier(there), sql.Placeholder(here))
                for here, there in zip(link.columns, link.to_columns, strict=True)
            ),
        )
        for link in _links(model)
        if link.name in links
    ]
    if live:
        conditions.append(
            sql.SQL(
                "NOT EXISTS (SELECT 1 FROM token_outcomes WHERE run_id = %(run_id)s "
                "AND token_id = %(live_token)s AND is_terminal)"
            )
        )
    fields = _fields(model)
    made = sql.SQL(
        "INSERT INTO {table} ({columns}) SELECT {values} FROM runs r "
        "WHERE r.run_id = %(run_id)s AND r.status = 'running'{conditions} ON CONFLICT DO NOTHING"
    ).format(
        table=sql.Identifier(model._meta.db_table),
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        # Typed, because a parameter that stands in two places must mean the same in both.
        values=sql.SQL(", ").join(
            sql.SQL("{}::{}").format(sql.Placeholder(name), sql.SQL(_TYPES[fields[name][0]]))
            for name in columns
        ),
        conditions=sql.SQL("").join(sql.SQL(" AND ") + condition for condition in conditions),
    )
    return made.as_string(None)


def explain(
    model: type[M], values: Mapping[str, Any], *, kind: str, live_token: str | None = None
) -> M:
    """The record that is there already and equal, or the reason why it was not added."""
    key = key_of(model)
    held = model._default_manager.filter(**{part: values[part] for part in key}).first()
    if held is not None:
        same(held, values, kind=kind)
        return held
    require_running(values["run_id"])
    for link in _links(model):
        if all(values.get(column) for column in link.columns):
            require_link(link, values)
    if live_token is not None:
        require_live(values["run_id"], live_token)
    for rule in model._meta.constraints:
        if not isinstance(rule, UniqueConstraint):
            continue
        place = {name: values.get(name) for name in rule.fields}
        taken = model._default_manager.filter(**place)
        if rule.condition is not None:
            taken = taken.filter(rule.condition)
        if None not in place.values() and taken.exists():
            told = ", ".join(f"{n} {value}" for n, value in place.items() if n != "run_id")
            raise AlreadyRecorded(kind, told)
    raise NotRecorded(kind, str(values[key[-1]]))


def same(held: models.Model, values: Mapping[str, Any], *, kind: str) -> None:
    """Refuse other content under the id of a record; instants, and what moves on, may differ.

    Raises:
        ConflictingRecord: something else differs.
    """
    fields = _fields(type(held))
    moving = MUTABLE_COLUMNS.get(type(held), ())
    different = [
        name
        for name, value in values.items()
        if fields[name][0] != "instant" and name not in moving and getattr(held, name) != value
    ]
    if different:
        raise ConflictingRecord(kind, str(getattr(held, key_of(type(held))[-1])), different)


def column_type(model: type[models.Model], column: str) -> str:
    """What PostgreSQL calls the values of a column."""
    return _TYPES[_fields(model)[column][0]]


def key_of(model: type[models.Model]) -> tuple[str, ...]:
    """The columns of the primary key, the run first."""
    parts = getattr(model._meta.pk, "field_names", ())
    return tuple(parts) or (str(model._meta.pk.name),)


def require_running(run_id: str) -> None:
    """Refuse a run that is not there or has ended."""
    status = Run.objects.filter(run_id=run_id).values_list("status", flat=True).first()
    if status is None:
        raise NotRecorded("run", run_id)
    if status != RunStatus.RUNNING:
        raise RunEnded(run_id, status)


def require_live(run_id: str, token_id: str) -> None:
    """Refuse a token that has a final outcome."""
    ended = TokenOutcome.objects.filter(run_id=run_id, token_id=token_id, is_terminal=True).first()
    if ended is not None:
        raise TokenEnded(token_id, ended.outcome)


def require_link(link: CompositeForeignKey, values: Mapping[str, Any]) -> None:
    """Refuse a link to something that is not there, or is another run's."""
    model = _MODELS[link.to_table]
    columns = dict(zip(link.to_columns, link.columns, strict=True))
    key = {there: values[here] for there, here in columns.items()}
    if not model._default_manager.filter(**key).exists():
        refuse_unknown(model, run_id=key.pop("run_id"), key=str(next(iter(key.values()))))


def refuse_unknown(model: type[models.Model], *, run_id: str, key: str) -> None:
    """Say that a record is not there, or whose it is.

    Raises:
        NotRecorded, RunMismatch: always one of them.
    """
    kind = str(model._meta.verbose_name)
    table, column = model._meta.db_table, key_of(model)[-1]
    with connection.cursor() as cursor:
        # By the key's index, run by run: alone the id would scan the table.
        cursor.execute(
            sql.SQL(
                "SELECT r.run_id FROM runs r CROSS JOIN LATERAL (SELECT 1 FROM {table} t "
                "WHERE t.run_id = r.run_id AND t.{column} = %s LIMIT 1) x LIMIT 1"
            ).format(table=sql.Identifier(table), column=sql.Identifier(column)),
            [key],
        )
        found = cursor.fetchone()
    if found is None:
        raise NotRecorded(kind, key)
    raise RunMismatch(kind, key, asked=run_id, actual=found[0])
