"""The page of every token of every real database, on every axis, as a picture and as data."""

import shutil

import pytest
from django.urls import reverse

from audit import imports
from audit.models import Token
from tests import audit_files
from tests.builders import NOON

pytestmark = pytest.mark.django_db

REAL = sorted(audit_files.DATA.glob("era-[ab]/*/audit.db")) if audit_files.DATA.is_dir() else []
_EVERY_AXIS = 7


@pytest.mark.parametrize("path", REAL, ids=lambda path: "/".join(path.parts[-3:-1]))
class TestEveryRealToken:
    def test_has_a_page(self, signed_in, path, tmp_path, settings):
        settings.LANDSCAPE_VAR = tmp_path / "var"
        copy = tmp_path / "audit.db"
        shutil.copy(path, copy)
        imports.import_file(copy, at=NOON, payload_folder=None, progress=lambda *_told: None)

        for number, token in enumerate(Token.objects.order_by("token_id")):
            key = [token.run_id, token.token_id]
            addresses = [reverse("audit:token", args=key)]
            # The other ways of seeing the same lanes: for some of them, since they are slow.
            if not number % _EVERY_AXIS:
                addresses += [f"{addresses[0]}?axis=time", f"{addresses[0]}?axis=table"]
                addresses += [
                    reverse(f"audit:lineage_{kind}", args=key) for kind in ("svg", "json")
                ]
            for address in addresses:
                assert signed_in.get(address).status_code == 200, address
