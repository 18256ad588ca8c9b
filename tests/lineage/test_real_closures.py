"""Every token of every real audit database, and what is known to be in some of them."""

import shutil
from collections import Counter

import pytest

from audit import imports
from audit.lineage.closure import gather_closure, gather_row
from audit.models import Finding, Row, Token, TokenParent
from tests import audit_files
from tests.builders import NOON

pytestmark = pytest.mark.django_db(transaction=True)

REAL = sorted(audit_files.DATA.glob("era-[ab]/*/audit.db")) if audit_files.DATA.is_dir() else []


@pytest.fixture
def real(tmp_path, settings):
    """Import a copy of a real database, by era and name."""
    if not REAL:
        pytest.skip(f"needs the real databases in {audit_files.DATA}")

    settings.LANDSCAPE_VAR = tmp_path / "var"

    def import_(name):
        path = tmp_path / "audit.db"
        shutil.copy(audit_files.DATA / name / "audit.db", path)
        imports.import_file(path, at=NOON, payload_folder=None, progress=lambda *_told: None)
        return [gather_row(run_id=r.run_id, row_id=r.row_id) for r in Row.objects.in_order()]

    return import_


def shapes(closures):
    return Counter(
        tuple(sorted(Counter(token.made for token in one.tokens.values()).items()))
        for one in closures
    )


class TestRealDatabases:
    @pytest.mark.parametrize("path", REAL, ids=lambda path: "/".join(path.parts[-3:-1]))
    def test_every_token_has_its_lineage(self, path, real):
        rows = real("/".join(path.parts[-3:-1]))

        links = set(TokenParent.objects.values_list("token_id", "parent_token_id"))
        assert {(x.token_id, x.parent_id) for row in rows for x in row.links} == links
        broken = set()
        for token in Token.objects.all():
            found = gather_closure(run_id=token.run_id, token_id=token.token_id)
            assert token.token_id in found.tokens
            assert not found.limits
            broken |= {hop.to_state for hop in found.hops if hop.verdict == "breaks"}
        codes = ["HASH_CHAIN_BREAK", "FIRST_INPUT_DIFFERS"]
        assert broken == set(
            Finding.objects.filter(code__in=codes).values_list("record_key", flat=True)
        )

    def test_fork_coalesce_shows_both_branches_and_the_merge(self, real):
        rows = real("era-a/fork_coalesce")

        assert set(shapes(rows)) == {(("fork", 2), ("merge", 1), ("source", 1))}

    def test_agg_passthrough_shows_the_batch(self, real):
        rows = real("era-a/agg_passthrough")

        assert all(row.batches for row in rows)

    def test_batch_aggregation_leads_to_every_member(self, real):
        rows = real("era-a/batch_aggregation")

        outputs = {batch.outputs for row in rows for batch in row.batches if batch.outputs}
        assert outputs
        assert max(len(row.tokens) for row in rows) > 1

    def test_retries_shows_attempts(self, real):
        rows = real("era-a/retries")

        kinds = Counter(hop.kind for row in rows for hop in row.hops)
        assert kinds["retry"]

    def test_calls_shows_its_calls(self, real):
        rows = real("era-a/calls")

        assert sum(v.calls for row in rows for vs in row.visits.values() for v in vs)
