"""What import-linter and the type checker cannot hold about the code itself."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from django.core.management import call_command

from audit import exports, imports, lineage
from audit.models import AUDIT_MODELS

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    path
    for folder in ("audit", "landscape_site")
    for path in (ROOT / folder).rglob("*.py")
    if "migrations" not in path.parts
)
FRONT_DOORS = (exports, imports, lineage)


def public_calls():
    for package in FRONT_DOORS:
        for name in package.__all__:
            if inspect.isfunction(call := getattr(package, name)):
                yield pytest.param(call, id=f"{package.__name__}.{name}")


@pytest.mark.parametrize("call", list(public_calls()))
def test_public_calls_are_documented_and_take_no_second_thing_by_place(call):
    by_place = [
        parameter
        for parameter in inspect.signature(call).parameters.values()
        if parameter.kind is not parameter.KEYWORD_ONLY
    ]

    assert inspect.getdoc(call)
    assert len(by_place) <= 1


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_have_one_subject(path):
    text = path.read_text()

    # What is given to strangers is one file, whatever its size.
    assert text.count("\n") < 500 or path.name == "verify.py"
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "a module says what it is about"


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "misc", "manager"])
def test_no_module_is_named_after_nothing(word):
    assert not [path for path in MODULES if path.stem == word]


def test_no_template_trusts_data():
    templates = [*(ROOT / "templates").rglob("*.html"), *(ROOT / "templates").rglob("*.svg")]
    # A drawing that is a file of its own carries its style; nothing recorded stands in it.
    style = ROOT / "templates" / "audit" / "graphs" / "style.svg"
    assert "{" + "{" not in style.read_text()
    templates.remove(style)
    words = re.compile(
        r"\|\s*safe\b|autoescape\s+off|\bstyle=|<style|<script(?![^>]*\bsrc=)|\son\w+="
    )

    assert templates
    assert not [path.name for path in templates if words.search(path.read_text())]
    assert not [path.name for path in MODULES if "mark_safe" in path.read_text()]


def test_every_audit_table_is_described():
    for model in AUDIT_MODELS:
        assert inspect.getdoc(model)
        assert not inspect.getdoc(model).startswith(f"{model.__name__}(")  # Django's own words


@pytest.mark.django_db
def test_migrations_are_complete_and_named():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)

    names = [path.stem for path in (ROOT / "audit" / "migrations").glob("0*.py")]
    assert not [name for name in names if "_auto_" in name]


def test_a_migration_that_fails_leaves_no_table_unguarded():
    for path in (ROOT / "audit" / "migrations").glob("0*.py"):
        told = path.read_text()
        off = re.findall(r"ALTER TABLE (\w+) DISABLE TRIGGER USER;", told)
        assert off == re.findall(r"ALTER TABLE (\w+) ENABLE TRIGGER USER;", told), path.name
