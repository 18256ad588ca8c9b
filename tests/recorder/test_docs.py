"""docs/recorder.md against the code: its tables are complete. Its example: test_connecting."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from audit import errors, recorder
from audit.recorder import contents, reading, tokens, writing

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "recorder.md").read_text()
CHECKLIST = (ROOT / "docs" / "checklist.md").read_text()
# Raised by other parts of the product.
ELSEWHERE = {"AuditError", "SchemaMismatch", "SourceRefused", "RunRefused"}


class TestTables:
    def test_name_every_error(self):
        named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
        ours = {
            name
            for name, thing in vars(errors).items()
            if isinstance(thing, type) and issubclass(thing, errors.AuditError)
        }

        assert ours - ELSEWHERE <= named

    @pytest.mark.parametrize(
        "limit",
        [
            writing.MAX_ID,
            writing.MAX_NAME,
            writing.MAX_URI,
            writing.MAX_REASON,
            writing.MAX_ERROR,
            writing.MAX_JSON,
            contents.MAX_PAYLOAD,
            tokens.MAX_CHILDREN,
            reading.MAX_PAGE,
        ],
    )
    def test_name_every_limit(self, limit):
        assert f"{limit:,}" in PAGE

    def test_name_functions_that_exist(self):
        promised = re.findall(r"\| `([a-z_]+)(?:`|\()", PAGE.split("Methods of the original")[1])
        here = [name for name in promised if name in recorder.__all__]

        assert {"complete_run", "resume_run", "record_call", "release_checkpoints"} <= set(here)


class TestChecklist:
    def test_names_tests_that_exist(self):
        for path, classes in re.findall(r"`(tests/[\w/]+\.py)((?:::\w+)*)`", CHECKLIST):
            source = (ROOT / path).read_text()
            for name in classes.split("::")[1:]:
                assert re.search(rf"(class|def) {name}\b", source), (path, name)
