"""A var of its own for every test, and exports that a bare Python verifies."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import zstandard

from audit import exports
from audit.evidence import signing
from tests import audit_files
from tests.builders import after_noon

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
