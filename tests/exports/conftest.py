"""A var of its own for every test, and exports that a bare Python verifies."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard
from django.db import connections
from django.test import override_settings

from audit import exports
from audit.evidence import signing
from audit.models import Row, Token
from tests import audit_files
from tests.builders import after_noon, digest, make_node, make_run
from tests.conftest import empty_tables
from tests.exports import forging
from tests.exports.forging import NAME

VERIFIER = Path(exports.__file__).with_name("verify.py")


@pytest.fixture(autouse=True)
def _var(settings, tmp_path):
    settings.LANDSCAPE_VAR = tmp_path / "var"
    settings.SIGNING_KEY_FILE = tmp_path / "var" / "secrets" / "signing_key.pem"
    settings.LANDSCAPE_AUTHORITY = "audit.example.com/landscape"
    settings.STORAGES = settings.STORAGES | {"payloads": {"BACKEND": "audit.payloads.PayloadFiles"}}


@pytest.fixture
def export(tmp_path):
    """Export a run into a folder of its own."""
    count = iter(range(1000))

    def export_(run_id, **options):
        options = {"folder": tmp_path / f"out{next(count)}", "at": after_noon(1000), **options}
        return exports.export_run(run_id=run_id, **options)

    return export_


@pytest.fixture
def the_key():
    """The key that this deployment signs with, as text."""
    return lambda: str(signing.trusted()[-1])


def world(rows):
    """A run with many rows and their tokens, stored in a few statements."""
    run = make_run(run_id="many")
    source = make_node(run, "source", "source")
    told = [(index, f"{index:032x}") for index in range(rows)]
    # In short statements: the client's patience is that of production.
    Row.objects.bulk_create(
        (
            Row(
                run_id="many",
                row_id=name,
                source_node_id=source.node_id,
                row_index=index,
                source_data_hash=digest("x"),
                source_data_ref=digest("x") if index == 0 else None,
                created_at=after_noon(index),
            )
            for index, name in told
        ),
        batch_size=2000,
    )
    Token.objects.bulk_create(
        Token(run_id="many", token_id=name, row_id=name, created_at=after_noon(1))
        for _index, name in told[:300]
    )
    return run.run_id


@contextmanager
def exporting(django_db_blocker, place):
    """Export runs into a place of their own, signed as the vectors are; then forget them."""
    told = {
        "LANDSCAPE_VAR": place / "var",
        "LANDSCAPE_SIGNING_KEY": base64.b64encode(forging.SEED).decode(),
        "LANDSCAPE_AUTHORITY": NAME,
    }

    def bag(name, run_id, **options):
        options = {"folder": place / name, "at": after_noon(1000), **options}
        return exports.export_run(run_id=run_id, **options).path

    with django_db_blocker.unblock(), override_settings(**told):
        try:
            yield bag
        finally:
            empty_tables()
            # A browser may be open: then it is a connection that nobody closes in the end.
            connections.close_all()


@pytest.fixture(scope="session")
def kept(django_db_setup, django_db_blocker, tmp_path_factory):
    """A bag of 603 records, the same as a ZIP file, and one of another run, by name."""
    with exporting(django_db_blocker, tmp_path_factory.mktemp("bags")) as bag:
        run_id = world(300)
        return {
            "small": bag("small", run_id, csv=True, with_payloads=True),
            "zip": bag("zip", run_id, zipped=True),
            "other": bag("other", make_run(run_id="other").run_id),
        }


@pytest.fixture(scope="session")
def large(django_db_setup, django_db_blocker, tmp_path_factory):
    """A bag of 66,303 records: two segments."""
    with exporting(django_db_blocker, tmp_path_factory.mktemp("large")) as bag:
        return bag("large", world(66_000))


@pytest.fixture
def bag(kept, tmp_path, request):
    """A copy of a bag to do something to."""

    def bag_(name="small"):
        path = request.getfixturevalue("large") if name == "large" else kept[name]
        return shutil.copytree(path, tmp_path / name)

    return bag_


def bare(path, *arguments, verifier=VERIFIER, **environment):
    """What a Python with nothing installed and nothing inherited says of an export."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", verifier, path, "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["status"] == done.returncode
    assert not done.stderr
    return report


def unpacked(path, tmp_path):
    """A database as a file that may be opened."""
    copy = tmp_path / path.name.removesuffix(".zst")
    if path.suffix == ".zst":
        with path.open("rb") as reader, copy.open("wb") as writer:
            zstandard.ZstdDecompressor().copy_stream(reader, writer)
    else:
        shutil.copyfile(path, copy)
    return copy


def zip_of(folder, target):
    """A ZIP as anybody might make it."""
    with zipfile.ZipFile(target, "w") as file:
        for each in sorted(folder.rglob("*")):
            if each.is_file():
                file.write(each, f"{folder.name}/{each.relative_to(folder)}")
    return target


REAL = sorted(audit_files.DATA.glob("era-[ab]/**/*.db*")) if audit_files.DATA.is_dir() else []
