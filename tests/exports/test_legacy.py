"""The original's HMAC exports: genuine ones are accepted, and everything done to them is told."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
import rfc8785
from django.core.management import CommandError, call_command

from audit.exports import legacy, verify_legacy
from tests import audit_files

KEY = b"landscape-test-key"
REAL_KEY = b"research-demo-key-not-secret"
OUTPUT = audit_files.DATA / "era-a" / "audit_export" / "output"
RUN = {
    "canonical_version": "sha256-rfc8785-v1",
    "completed_at": "2026-01-27T00:00:01+00:00",
    "config_hash": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    "record_type": "run",
    "reproducibility_grade": "full_reproducible",
    "run_id": "run-0001",
    "started_at": "2026-01-27T00:00:00+00:00",
    "status": "completed",
}
ROW = {
    "record_type": "row",
    "row_id": "row-0001",
    "row_index": 0,
    "run_id": "run-0001",
    "source_data_hash": "037c9214eef74cc3887f3a4f085b4e17d76280dafd273b0ee160c09c4ba1cfd4",
    "source_node_id": "src",
}
MANIFEST = {
    "record_type": "manifest",
    "run_id": "run-0001",
    "record_count": 2,
    "final_hash": "667924a0a7f77d64a632dc3f2c3ec250c1a6f90bad8bc5fe0d610895e5a21cc0",
    "hash_algorithm": "sha256",
    "signature_algorithm": "hmac-sha256",
    "exported_at": "2026-01-27T00:00:02+00:00",
}
SIGNATURES = [
    "d11d19161256866edec2350762110b9f7eb9fae2eaf1bc6bfeb07c0a458b2eaa",
    "b78677ff4c06c2d605fcf684a3036a87bdfb1129e42bee1b607bfc07af8a1ae3",
    "21f8328bddcf5e04723c224ff3518f412839909759fefc3d52a227ee57e1e0fb",
]


def vector():
    """The export of the format's own vector."""
    records = zip([RUN, ROW, MANIFEST], SIGNATURES, strict=True)
    return [record | {"signature": signature} for record, signature in records]


def signed(record):
    text = rfc8785.dumps({name: value for name, value in record.items() if name != "signature"})
    return record | {"signature": hmac.new(KEY, text, hashlib.sha256).hexdigest()}


@pytest.fixture
def check(tmp_path):
    def check_(records, *, key=KEY, by_line=False):
        path = tmp_path / "export.json"
        lines = "\n".join(json.dumps(record) for record in records)
        path.write_text(lines + "\n" if by_line else json.dumps(records))
        return verify_legacy(path=path, key=key)

    return check_


def drop(records):
    del records[1]


def swap(records):
    records[0], records[1] = records[1], records[0]


def double(records):
    records.insert(1, records[1])


def cut(records):
    del records[-1]


def edit(records):
    records[1]["row_index"] = 1


def add_after(records):
    records.append(records[0])


def unsign(records):
    del records[1]["signature"]


def recount(records):
    records[-1]["record_count"] = 3
    records[-1] = signed(records[-1])


def rehash(records):
    records[-1]["final_hash"] = "0" * 64


def other_run(records):
    records[1] = signed(records[1] | {"run_id": "run-0002"})


class TestVerifyLegacy:
    @pytest.mark.parametrize("by_line", [True, False])
    def test_accepts_the_vector(self, check, by_line):
        report = check(vector(), by_line=by_line)

        assert (report.verdict, report.records, report.run_id) == ("VERIFIED", 2, "run-0001")
        assert legacy.POSTGRESQL in report.remarks
        assert legacy.SHARED in report.remarks

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (drop, "the manifest counts 2, not 1"),
            (swap, "the running hash"),
            (double, "the manifest counts 2, not 3"),
            (cut, "the manifest is missing"),
            (edit, "record 2 (row) is not what was signed"),
            (add_after, "record 4 comes after the manifest"),
            (unsign, "record 2 (row) is not what was signed"),
            (recount, "the manifest counts 3, not 2"),
            (rehash, "record 3 (manifest) is not what was signed"),
            (other_run, "record 2 (row) is of another run"),
        ],
    )
    def test_tells_what_was_done(self, check, change, problem):
        records = vector()
        change(records)

        report = check(records)

        assert report.status == 1
        assert any(problem in each for each in report.problems), report.problems

    def test_fails_under_another_key(self, check):
        assert check(vector(), key=b"other").status == 1

    @pytest.mark.parametrize(
        "text", ["", "[]", "{", "[1]", '[{"a":1,"a":2}]', "[" * 99_999, "\xff"]
    )
    def test_never_accepts_what_is_no_export(self, tmp_path, text):
        path = tmp_path / "export.json"
        path.write_text(text, encoding="latin-1")

        assert verify_legacy(path=path, key=KEY).status in {1, 2}

    def test_cannot_tell_of_an_unsigned_one_or_of_csv(self, check, tmp_path):
        (tmp_path / "run.csv").write_text("a,b\n")

        assert check([RUN, ROW]).status == 2
        assert verify_legacy(path=tmp_path, key=KEY).status == 2
        assert verify_legacy(path=tmp_path / "run.csv", key=KEY).unsure == legacy.CSV

    def test_cannot_tell_of_a_later_manifest(self, check):
        later = [*vector()[:2], MANIFEST | {"schema": "elspeth.audit-export-manifest.v2"}]

        report = check(later)

        assert report.status == 2
        assert "elspeth.audit-export-manifest.v2" in report.unsure


@pytest.mark.skipif(not OUTPUT.is_dir(), reason=f"needs {OUTPUT}")
class TestRealExports:
    def test_are_verified_with_their_key(self):
        report = verify_legacy(path=OUTPUT / "audit_trail_signed.json", key=REAL_KEY)

        assert (report.status, report.records) == (0, 51)
        assert legacy.SQLITE in report.remarks

    def test_unsigned_ones_and_csv_are_not(self):
        for name in ("audit_trail.json", "audit_trail_csv"):
            assert verify_legacy(path=OUTPUT / name, key=REAL_KEY).status == 2

    def test_the_same_run_from_postgresql_has_other_signatures(self, tmp_path):
        records = json.loads((OUTPUT / "audit_trail_signed.json").read_text())
        moved = [
            {
                name: f"{value}+00:00"
                if name.endswith("_at") and name != "exported_at" and value
                else value
                for name, value in record.items()
            }
            for record in records
        ]
        path = tmp_path / "export.json"
        path.write_text(json.dumps(moved))

        report = verify_legacy(path=path, key=REAL_KEY)

        assert report.status == 1
        assert any("(run) is not what was signed" in each for each in report.problems)

    def test_the_command_ends_with_its_status(self, capsys, monkeypatch):
        path = str(OUTPUT / "audit_trail_signed.json")
        for key, status in ((REAL_KEY.decode(), 0), ("other", 1)):
            with pytest.raises(SystemExit) as ended:
                call_command("verify_legacy_export", path, "--key", key)
            assert ended.value.code == status
        assert "shared secret" in capsys.readouterr().out
        monkeypatch.delenv("ELSPETH_SIGNING_KEY", raising=False)
        with pytest.raises(CommandError, match="shared secret"):
            call_command("verify_legacy_export", path)
