"""A superuser against the seal: whatever one record becomes, it is found, and named."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.db import connections
from django.db.models import CheckConstraint

from audit.evidence import records, seals
from audit.integrity import trail
from audit.models import (
    SEALED_MODELS,
    BatchOutput,
    Finding,
    NodeState,
    Operation,
    SecretResolution,
)
from audit.recorder import guards
from tests import builders
from tests.builders import NOON, after_noon, make_world
from tests.conftest import empty_tables
from tests.tampering import Tamperer, Trier

pytestmark = pytest.mark.django_db(databases=["default", "owner"], transaction=True)

MODELS = {model._meta.db_table: model for model in SEALED_MODELS}
AT_ONCE = 12
DEEDS = ("delete", "insert", "swap", "change")
PURGED = {("payload_purges", "added"), ("run_grades", "added")}


def check(run_id):
    return trail.check_run(run_id=run_id, at=after_noon(200))


def full_world():
    """A sealed run with records of every type."""
    world = make_world(rows=6)
    run = world.run
    states = list(NodeState.objects.filter(run_id=run.run_id, node_id=world.sink.node_id))
    for place in range(3):
        here = world.tokens[place]
        edge = builders.make_edge(world.source, world.transform, label=f"to {place}")
        builders.make_route(states[place], edge)
        builders.make_call(states[place])
        builders.make_child(here, ordinal=place)
        batch = builders.make_batch(world.transform, here, world.tokens[place + 1])
        BatchOutput.objects.create(
            run_id=run.run_id,
            batch_output_id=f"bo{place}",
            batch_id=batch.batch_id,
            output_type="token",
            output_id=here.token_id,
        )
        builders.make_artifact(states[place], states[place + 1])
        builders.make_refusal(run)
        builders.make_rejection(here, world.transform)
        builders.make_checkpoint(here, world.transform, sequence_number=place)
        builders.make_event(run)
        Operation.objects.create(
            run_id=run.run_id,
            operation_id=f"op{place}",
            node_id=world.source.node_id,
            operation_type="source_load",
            started_at=NOON,
            status="open",
        )
        SecretResolution.objects.create(
            run_id=run.run_id,
            resolution_id=f"s{place}",
            timestamp=1.5,
            env_var_name="KEY",
            source="env",
            fingerprint=builders.digest("secret"),
        )
    # Only a purge writes these; here nothing is purged.
    Tamperer()(
        *(
            f"INSERT INTO payload_purges VALUES ('{run.run_id}', 'p{place}', '{place:064x}',"
            " '2026-01-01', 'policy', 'reason', 1, 2, 3)"
            for place in range(3)
        ),
        f"INSERT INTO run_grades VALUES ('{run.run_id}', 'g', '2026-01-01',"
        " 'replay_reproducible', 'attributable_only', 'reason', 1)",
    )
    seals.seal_run(run_id=run.run_id, at=after_noon(100))
    return run.run_id


def values(kind, run_id):
    found = MODELS[kind.table].objects.filter(run_id=run_id)
    return list(found.order_by(*kind.key).values())


def key_text(kind, record):
    parts = (record[name] for name in kind.key)
    form = "%Y-%m-%dT%H:%M:%S.%fZ"
    return "/".join(
        each.astimezone(UTC).strftime(form) if isinstance(each, datetime) else str(each)
        for each in parts
    )


def where(kind, record):
    parts = {name: record[name] for name in ("run_id", *kind.key)}
    return " AND ".join(f'"{name}" = %s' for name in parts), list(parts.values())


def told(kind, record):
    return [value for name, value in record.items() if name not in kind.key]


class Attack:
    """One thing done to one record of a kind: statements, and what has to be told of it."""

    def __init__(self, kind, record, *, change=None, deed="change", other=None):
        self.kind, self.before = kind, [record]
        condition, named = where(kind, record)
        if deed == "delete":
            self.statement = (f'DELETE FROM "{kind.table}" WHERE {condition}', named)
            self.told = {(kind.table, key_text(kind, record), "gone")}
        elif deed == "insert":
            # After what is there, or before: the last column of the key decides.
            name = kind.key[-1]
            forged = record | {name: another(kind, name, record[name], far=True)}
            self.statement = insert(kind, forged)
            self.before, self.forged = [], forged
            self.told = {(kind.table, key_text(kind, forged), "added")}
        elif deed == "swap":
            rest = [name for name in record if name not in {"run_id", *kind.key}]
            mine, named = where(kind, record)
            theirs, others = where(kind, other)
            listed = ", ".join(f'"{name}"' for name in rest)
            both = f"(({mine}) OR ({theirs}))"
            # Each takes what the other has: there are two of them.
            first = kind.key[-1]
            table = f'"{kind.table}"'
            which = f'{both} AND two."{first}" <> one."{first}"'
            told = f"({listed}) = (SELECT {listed} FROM {table} two WHERE {which})"
            named = [*named, *others, *named, *others]
            self.statement = (f"UPDATE {table} one SET {told} WHERE {both}", named)
            self.before = [record, other]
            self.told = {(kind.table, key_text(kind, each), "changed") for each in self.before}
        else:
            name, value = change
            self.statement = (
                f'UPDATE "{kind.table}" SET "{name}" = %s WHERE {condition}',
                [value, *named],
            )
            self.told = {(kind.table, key_text(kind, record), "changed")}
            if name in {"run_id", *kind.key}:
                self.told = {(kind.table, key_text(kind, record), "gone")}
                self.forged = record | {name: value}
                if name != "run_id":
                    self.told.add((kind.table, key_text(kind, self.forged), "added"))

    @property
    def keys(self):
        """The records that it touches, and those that it leaves."""
        every = [*self.before, *([self.forged] if hasattr(self, "forged") else [])]
        return {(self.kind.table, key_text(self.kind, each)) for each in every}

    def undone(self):
        """What makes it undone."""
        every = [*self.before, *([self.forged] if hasattr(self, "forged") else [])]
        for each in every:
            condition, named = where(self.kind, each)
            yield f'DELETE FROM "{self.kind.table}" WHERE {condition}', named
        for each in self.before:
            yield insert(self.kind, each)


def insert(kind, record):
    names = ", ".join(f'"{name}"' for name in record)
    marks = ", ".join(["%s"] * len(record))
    return f'INSERT INTO "{kind.table}" ({names}) VALUES ({marks})', list(record.values())


def another(kind, name, value, *, far=False, chance=None):
    """Another value of a column, as close to what it was as can be."""
    field = MODELS[kind.table]._meta.get_field(name)
    form = dict(kind.columns)[name]
    if value is not None and chance and chance.random() < 0.15:
        return None
    if field.choices:
        words = [word for word, _label in field.choices if word != value]
        return (chance or random).choice(words)
    make = {
        "integer": lambda: (value or 0) + (1000 if far else 1),
        "int64": lambda: (value or 0) + (1000 if far else 1),
        "boolean": lambda: not value,
        "double": lambda: (value or 0.0) + 0.001,
        "timestamp": lambda: (value or NOON) + timedelta(microseconds=1),
        "json_text": lambda: f"{value or ''} ",
        "string": lambda: "" if value is None else f"{value[:-1]}~",
    }
    return make[form]()


@pytest.fixture
def without_checks():
    """What whoever may do everything does first: drop the rules of the tables."""
    rules = [
        (model, rule)
        for model in apps.get_app_config("audit").get_models()
        for rule in model._meta.constraints
        if isinstance(rule, CheckConstraint)
    ]
    owner = connections["owner"]
    with owner.schema_editor() as editor:
        for model, rule in rules:
            editor.remove_constraint(model, rule)
    yield
    empty_tables()
    # Not from what the database printed: read again, that is another expression.
    with owner.schema_editor() as editor:
        for model, rule in rules:
            editor.add_constraint(model, rule)
    with owner.cursor() as cursor:
        for model in {model for model, _rule in rules}:
            for statement in guards.comment_statements(model):
                cursor.execute(statement)
    owner.close()


def attacks(run_id, chance, rounds):
    """Every column of every type once, and beyond that anything at random."""
    kinds = [kind for kind in records.RECORD_TYPES if kind.name != "run"]
    held = {kind.name: values(kind, run_id) for kind in records.RECORD_TYPES}
    assert all(held.values()), "the world lacks a type"
    columns = [(kind, name) for kind in records.RECORD_TYPES for name, _form in kind.columns]
    chance.shuffle(columns)

    def on(kind, name):
        record = chance.choice(held[kind.name])
        far = name in kind.key
        value = f"{run_id[:-1]}x" if name == "run_id" else None
        value = value or another(kind, name, record[name], far=far, chance=chance)
        return Attack(kind, record, change=(name, value))

    for kind, name in columns:
        # What a rule of the table refuses may pass with another record or value.
        yield name, [on(kind, name) for _ in range(6)]
    left = rounds - len(columns)
    while left > 0:
        kind, deed = chance.choice(kinds), chance.choice(DEEDS)
        record = chance.choice(held[kind.name])
        # Two that are alike but for their keys are none the worse for being swapped.
        others = [each for each in held[kind.name] if told(kind, each) != told(kind, record)]
        if deed == "swap" and not others:
            continue
        left -= 1
        if deed == "change":
            yield deed, [on(kind, chance.choice(kind.columns)[0]) for _ in range(6)]
        elif deed == "swap":
            yield deed, [Attack(kind, record, deed=deed, other=each) for each in others]
        else:
            yield deed, [Attack(kind, record, deed=deed)]


def told_of(report):
    return {
        (
            each.kind.table,
            each.key,
            "gone" if each.current is None else "added" if each.sealed is None else "changed",
        )
        for each in report.differences
    }


def test_every_column_and_anything_else_is_found_and_named(rounds, without_checks):
    run_id, chance, trying = full_world(), random.Random(20_261_128), Trier()
    # More than are wanted: rules of the tables refuse some.
    left, passed, never = list(attacks(run_id, chance, rounds(600) * 5 // 4)), 0, []
    while left:
        batch, touched, later = [], set(), []
        for name, tries in left:
            free = [each for each in tries if not each.keys & touched]
            if len(batch) == AT_ONCE or not free:
                later.append((name, tries))
                continue
            batch.append((name, tries, free[0]))
            touched |= free[0].keys
        left = later
        done = trying(*(attack.statement for _name, _tries, attack in batch))
        made = [attack for (*_, attack), was in zip(batch, done, strict=True) if was]
        for (name, tries, attack), was in zip(batch, done, strict=True):
            rest = [each for each in tries if each is not attack]
            if not was and rest:
                left.append((name, rest))
            elif not was and name not in DEEDS:
                never.append((attack.kind.name, name))

        report = check(run_id)

        # A purge may come after the seal: whoever forges one makes the next epoch say so.
        pending = {told for attack in made for told in attack.told if told[::2] in PURGED}
        assert told_of(report) == set().union(*(attack.told for attack in made)) - pending
        assert report.pending == len(pending)
        assert not report.broken
        passed += len(made)
        # The last one first: it may stand where an earlier one made room.
        Tamperer()(*(each for attack in reversed(made) for each in attack.undone()))
    assert not never, "some column was never changed"
    assert passed >= rounds(600)
    assert check(run_id).ok
    assert not Finding.objects.filter(level="error").exists()


def test_nothing_is_imagined(rounds):
    """No false alarm on clean runs."""
    for rows in range(rounds(50)):
        world = make_world(rows=rows % 7 + 1)
        seals.seal_run(run_id=world.run.run_id, at=after_noon(100))
        assert check(world.run.run_id).ok
