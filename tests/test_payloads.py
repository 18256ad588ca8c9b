"""Payload bytes: whole or not at all, under their hash, proven when read."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest
from django.core.files.storage import storages

from audit import payloads
from audit.errors import PayloadNotKept
from audit.payloads import PayloadCorrupted, PayloadMissing

HELLO = b"hello"
REF = hashlib.sha256(HELLO).hexdigest()


@pytest.fixture(autouse=True)
def root(settings, tmp_path):
    settings.LANDSCAPE_VAR = tmp_path / "var"
    return tmp_path / "var" / "payloads"


@pytest.fixture
def foreign(tmp_path):
    """Another program's store with one payload in it."""
    path = tmp_path / "foreign" / payloads.place(REF)
    path.parent.mkdir(parents=True)
    path.write_bytes(HELLO)
    return tmp_path / "foreign"


class TestStore:
    def test_keeps_bytes_under_their_hash_for_their_user_only(self, root):
        assert payloads.store(HELLO) == REF

        path = root / REF[:2] / REF
        assert path.read_bytes() == HELLO
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_twice_writes_once(self, root):
        payloads.store(HELLO)
        before = (root / REF[:2] / REF).stat().st_ino

        payloads.store(HELLO)

        assert (root / REF[:2] / REF).stat().st_ino == before

    def test_heals_what_was_damaged(self, root):
        payloads.store(HELLO)
        (root / REF[:2] / REF).write_bytes(b"hellO")

        payloads.store(HELLO)

        assert payloads.read(REF) == HELLO

    def test_keeps_nothing_at_all_too(self):
        assert payloads.read(payloads.store(b"")) == b""

    @pytest.mark.parametrize("call", ["fsync", "rename"])
    def test_leaves_nothing_when_it_fails_half_way(self, root, monkeypatch, call):
        def fail(*_arguments):
            raise OSError("no space left on device")

        monkeypatch.setattr(os if call == "fsync" else Path, call, fail)
        with pytest.raises(PayloadNotKept, match="no space"):
            payloads.store(HELLO)

        assert [path for path in root.rglob("*") if path.is_file()] == []

    def test_what_a_killed_writer_left_goes_after_a_day(self, root):
        payloads.store(HELLO)
        left, being_written = (root / REF[:2] / name for name in (".left", ".new"))
        for path in (left, being_written):
            path.write_bytes(b"he")
        os.utime(left, (0, 0))
        os.utime(root / REF[:2] / REF, (0, 0))

        assert storages["payloads"].tidy() == 1

        assert {path.name for path in left.parent.iterdir()} == {".new", REF}

    def test_writes_a_link_over_and_not_through(self, root, tmp_path):
        victim = tmp_path / "victim"
        victim.write_text("mine")
        (root / REF[:2]).mkdir(parents=True)
        (root / REF[:2] / REF).symlink_to(victim)

        payloads.store(HELLO)

        assert victim.read_text() == "mine"
        assert payloads.read(REF) == HELLO

    def test_refuses_a_storage_that_renames(self, settings):
        settings.STORAGES = settings.STORAGES | {
            "payloads": {
                "BACKEND": "django.core.files.storage.FileSystemStorage",
                "OPTIONS": {"location": str(settings.LANDSCAPE_VAR / "other")},
            }
        }
        payloads.store(HELLO)
        (settings.LANDSCAPE_VAR / "other" / REF[:2] / REF).write_bytes(b"damaged")

        with pytest.raises(ValueError, match="let it overwrite"):
            payloads.store(HELLO)


class TestRead:
    def test_tells_what_is_missing(self):
        with pytest.raises(PayloadMissing) as missing:
            payloads.read(REF)

        assert missing.value.ref == REF

    def test_tells_what_was_changed(self, root):
        payloads.store(HELLO)
        (root / REF[:2] / REF).write_bytes(b"hellO")

        with pytest.raises(PayloadCorrupted) as corrupted:
            payloads.read(REF)

        assert corrupted.value.actual == hashlib.sha256(b"hellO").hexdigest()

    @pytest.mark.parametrize(
        "ref", ["", "../../etc/passwd", REF.upper(), REF[:-1], f"{REF}\n", f"/{REF[1:]}", "é" * 64]
    )
    def test_refuses_what_is_no_reference_before_any_path(self, ref):
        with pytest.raises(ValueError, match="not a payload reference"):
            payloads.read(ref)


class TestAdopt:
    def test_copies_and_tells_the_size(self, foreign):
        assert payloads.adopt(REF, source=foreign) == len(HELLO)
        assert payloads.adopt(REF, source=foreign) == len(HELLO)
        assert payloads.read(REF) == HELLO

    def test_refuses_other_bytes(self, foreign, root):
        (foreign / payloads.place(REF)).write_bytes(b"other")

        with pytest.raises(PayloadCorrupted):
            payloads.adopt(REF, source=foreign)
        assert not root.exists()

    def test_does_not_follow_a_link(self, foreign, tmp_path):
        path = foreign / payloads.place(REF)
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")

        with pytest.raises(OSError, match="symbolic links"):
            payloads.adopt(REF, source=foreign)

    def test_does_not_wait_for_a_pipe(self, foreign):
        (foreign / payloads.place(REF)).unlink()
        os.mkfifo(foreign / payloads.place(REF))

        with pytest.raises(FileNotFoundError):
            payloads.adopt(REF, source=foreign)
