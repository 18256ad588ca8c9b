"""The normative page against the code, and its commands against real keys."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from audit.evidence import records, seals, signing
from audit.vocabulary import SealReason
from tests.builders import after_noon, make_world

PAGE = (Path(__file__).parents[2] / "docs" / "export-format.md").read_text()


class TestThePage:
    def test_lists_every_record_type_in_leaf_order(self):
        told = re.findall(r"^\| `(\w+)` \| `(\w+)` \| ([\w, ]+) \|$", PAGE, re.MULTILINE)

        assert told == [
            (kind.name, kind.table, ", ".join(kind.key))
            for kind in (records.SEAL, *records.RECORD_TYPES)
        ]

    def test_names_every_kind_of_column(self):
        kinds = {form for each in records.BY_NAME.values() for _name, form in each.columns}

        assert all(f"| `{kind}` |" in PAGE for kind in kinds)

    def test_names_what_no_record_holds(self):
        assert all(f"`{name}`" in PAGE for name in records.VOLATILE["runs"])

    def test_names_every_reason_and_every_column_of_a_seal(self):
        words = [*SealReason.values, *(name for name, _form in records.SEAL.columns)]

        assert [word for word in words if word not in PAGE] == []

    @pytest.mark.django_db(databases=["default", "owner"], transaction=True)
    @pytest.mark.parametrize("spoil", [False, True])
    def test_has_commands_that_check_a_checkpoint(self, tmp_path, spoil):
        """Run as they are printed, with nothing but a shell and openssl."""
        world = make_world()
        seal = seals.seal_run(run_id=world.run.run_id, at=after_noon(100))
        text = seal.checkpoint.replace("\n", "\n1", 1) if spoil else seal.checkpoint
        (tmp_path / "checkpoint").write_text(text)
        (tmp_path / "key.pem").write_text(signing.known_keys()[0].pem)
        (commands,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)

        done = subprocess.run(
            ["sh", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False
        )

        assert ("Signature Verified Successfully" in done.stdout) is not spoil
        assert (done.returncode == 0) is not spoil
