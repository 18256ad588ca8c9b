"""The proof of a run on its page and in the list, and the keys for anybody."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from audit import lineage, recorder
from audit.evidence import log, notes, seals, signing
from audit.exports import verify
from audit.integrity import trail
from audit.models import Finding, Seal, SealCheck
from tests.builders import NOON, after_noon, make_run, make_world, summarise
from tests.evidence.test_seals import failed_run
from tests.tampering import own_var, tamper  # noqa: F401  # fixtures

pytestmark = pytest.mark.django_db(databases=["default", "owner"], transaction=True)

FILES = "/.well-known/landscape-export/"
HOSTILE = "<script>alert(1)</script>\"'><b>"


@pytest.fixture(autouse=True)
def _var(own_var, monkeypatch):  # noqa: F811
    monkeypatch.setattr("audit.tasks._ring", lambda *_: None)


def sealed(rows=2):
    world = make_world(rows=rows)
    summarise(world.run)
    seals.seal_run(run_id=world.run.run_id, at=after_noon(100))
    return world.run.run_id


def box(client, run_id):
    """The proof box of a run, its words only one space apart."""
    text = client.get(f"/runs/{run_id}/").text
    return " ".join(text.split('<section id="proof">')[1].split("</section>")[0].split())


def proof(run_id, status="completed"):
    return lineage.read_proof(run_id=run_id, status=status)


def kept_by(answer):
    return set(answer["Cache-Control"].split(", "))


def change_a_row(tamper, run_id):  # noqa: F811
    tamper(f"UPDATE rows SET source_data_hash = '<b>x' WHERE run_id = '{run_id}' AND row_index = 1")
    trail.check_run(run_id=run_id, at=after_noon(200))


class TestProofBox:
    def test_tells_the_seal_in_full(self, signed_in):
        run_id = sealed()
        seal = Seal.objects.get()

        text = box(signed_in, run_id)

        assert "sealed</span>" in text
        assert "2026-11-22 12:01:40.000Z" in text
        for place in range(0, 64, 8):
            assert f"<span>{seal.root[place : place + 8]}</span>" in text
        assert f"{seal.size} records" in text or f"<dd>{seal.size}, every one" in text
        assert "1, run completed" in text
        assert seal.key_id in text
        assert "leaf 0" in text
        assert "never, since it was sealed" in text

    def test_tells_the_last_comparison(self, signed_in):
        run_id = sealed()
        trail.check_run(run_id=run_id, at=after_noon(200))

        text = box(signed_in, run_id)

        assert "12:03:20.000Z</time>: the database matched all" in text
        assert proof(run_id).state == "sealed"

    def test_names_the_first_record_that_differs(self, signed_in, tamper):  # noqa: F811
        run_id = sealed()
        change_a_row(tamper, run_id)

        text = box(signed_in, run_id)

        assert "differs from its seal" in text
        assert "1 difference. The first: rows <code>1/" in text
        assert 'href="#findings"' in text
        assert "&lt;b&gt;x" in text
        assert "<b>" not in text

    def test_says_when_it_will_be_sealed(self, signed_in):
        ended, going = make_run(), make_run(status="running", completed_at=None)

        assert "will be sealed when a worker gets to it" in box(signed_in, ended.run_id)
        assert "will be sealed when the run ends" in box(signed_in, going.run_id)

    def test_says_that_a_resumed_run_goes_on(self, signed_in):
        run_id = failed_run()
        seals.seal_run(run_id=run_id, at=after_noon(100))
        recorder.resume_run(run_id=run_id, at=after_noon(200))

        assert "will be sealed as epoch 2 when it ends" in box(signed_in, run_id)

    def test_does_not_take_an_older_comparison_for_one_of_this_seal(self, signed_in):
        run_id = failed_run()
        seals.seal_run(run_id=run_id, at=after_noon(100))
        trail.check_run(run_id=run_id, at=after_noon(150))
        recorder.resume_run(run_id=run_id, at=after_noon(200))
        recorder.complete_run(run_id=run_id, status="failed", at=after_noon(300))
        seals.seal_run(run_id=run_id, at=after_noon(400))

        assert "of epoch 1; not compared since this seal" in box(signed_in, run_id)

    def test_says_when_the_seal_is_not_in_the_log(self, monkeypatch, signed_in):
        monkeypatch.setattr(log, "append", lambda **_: 0)

        assert "not in the log yet" in box(signed_in, sealed())

    @pytest.mark.parametrize(
        ("statement", "state"),
        [
            ("UPDATE seals SET root = repeat('0', 64)", "forged"),
            ("UPDATE seals SET size = size + 1", "forged"),
            ("UPDATE seals SET checkpoint = 'nonsense'", "forged"),
            ("UPDATE seals SET key_id = '<b>'", "key_unknown"),
            ("DELETE FROM key_events", "key_unknown"),
            ("UPDATE key_events SET key_name = 'two words'", "key_unknown"),
            ("UPDATE key_events SET kind = 'retired'", "key_unknown"),
        ],
    )
    def test_believes_no_forged_seal(self, signed_in, tamper, statement, state):  # noqa: F811
        run_id = sealed()
        tamper(statement)

        text = box(signed_in, run_id)

        assert proof(run_id).state == state
        assert 'class="chip bad"' in text
        assert "<b>" not in text

    def test_says_that_the_key_was_given_up_before_it_signed(self):
        run_id = sealed()
        signing.rotate(at=after_noon(300), reason="lost", compromised_since=after_noon(200))
        assert proof(run_id).state == "sealed"

        other = make_world(rows=1).run.run_id
        seals.seal_run(run_id=other, at=after_noon(350))
        signing.rotate(at=after_noon(500), reason="lost", compromised_since=after_noon(340))

        assert proof(other).state == "key_compromised"

    def test_reads_only_and_costs_the_same_at_two_sizes(self, read_only, count_queries):
        small, large = sealed(rows=1), sealed(rows=30)
        for run_id in (small, *[large] * 20):
            trail.check_run(run_id=run_id, at=after_noon(200))

        with read_only():
            costs = [
                count_queries(lambda run_id=run_id: proof(run_id)) for run_id in (small, large)
            ]

        assert costs == [6, 6]


class TestSealsInTheList:
    def test_stand_beside_each_run(self, signed_in, tamper):  # noqa: F811
        sealed()
        make_run(run_id="unsealed")
        change_a_row(tamper, sealed())

        text = signed_in.get("/runs/").text

        assert text.count("</svg>sealed</a>") == 1
        assert text.count("</svg>differs</a>") == 1
        assert text.count("not yet</span>") == 1

    def test_take_the_last_comparison_only(self, tamper):  # noqa: F811
        run_id = sealed()
        seal = Seal.objects.get()
        for seconds, differences in ((200, 3), (300, 0)):
            seals.note_check(seal=seal, records=9, differences=differences, at=after_noon(seconds))

        (line,) = lineage.list_runs(asked=lineage.RunFilter()).lines

        assert SealCheck.objects.count() == 2
        assert (line.run_id, line.seal) == (run_id, "sealed")

    def test_that_differ_need_a_person(self, tamper):  # noqa: F811
        sealed()
        run_id = sealed()
        before = lineage.list_runs(asked=lineage.RunFilter()).needing
        change_a_row(tamper, run_id)

        found = lineage.list_runs(asked=lineage.RunFilter(status=lineage.NEEDS_A_PERSON))

        assert (before, found.needing) == (0, 1)
        assert [line.run_id for line in found.lines] == [run_id]
        assert Finding.objects.get().level == "error"


class TestPublicKeys:
    def test_are_for_anybody_and_may_be_kept_for_a_while(self, client, signed_in, read_only):
        sealed()
        (known,) = signing.known_keys()

        with read_only():
            answer = client.get("/keys/")

        assert answer.status_code == 200
        assert str(known.key) in answer.text
        assert known.fingerprint[:8] in answer.text
        assert "landscape-keys/1" in answer.text
        assert kept_by(answer) == {"public", "max-age=300"}
        assert "Cookie" in answer["Vary"]
        assert kept_by(signed_in.get("/keys/")) == {"private", "max-age=300"}

    def test_are_none_before_the_first_seal(self, client):
        assert "Nothing has been signed here yet" in client.get("/keys/").text
        assert client.get(f"{FILES}keys.pem").status_code == 404
        assert client.get(f"{FILES}history.txt").status_code == 404

    def test_need_no_private_key(self, client, settings, own_var):  # noqa: F811
        sealed()
        settings.SIGNING_KEY_FILE, settings.LANDSCAPE_SIGNING_KEY = None, ""

        assert client.get("/keys/").status_code == 200
        assert "BEGIN PUBLIC KEY" in client.get(f"{FILES}keys.pem").text

    def test_of_a_hostile_name_are_shown_and_not_obeyed(self, client, settings):
        settings.LANDSCAPE_AUTHORITY = HOSTILE.replace(" ", "")
        run_id = sealed()

        text = client.get("/keys/").text

        assert "&lt;script&gt;alert" in text
        assert "<script>alert" not in text
        assert "<b>" not in text
        assert proof(run_id).state == "sealed"
        for name in ("policy.txt", "history.txt"):
            answer = client.get(FILES + name)
            assert answer["Content-Type"] == "text/plain; charset=utf-8"
            assert answer["X-Content-Type-Options"] == "nosniff"

    def test_take_no_parameters(self, client):
        assert client.get("/keys/?surprise=1").status_code == 400
        assert client.post("/keys/").status_code == 405


class TestWellKnown:
    @pytest.fixture(autouse=True)
    def _rotated(self):
        sealed()
        signing.rotate(at=after_noon(200), reason="yearly")
        signing.rotate(at=after_noon(300), reason="stolen", compromised_since=after_noon(250))

    def test_policy_names_the_good_keys_the_newest_first(self, client):
        first, _stolen, newest = signing.known_keys()

        lines = client.get(f"{FILES}policy.txt").text.splitlines()

        assert lines == [f"log {newest.key}", f"log {first.key}", "quorum none"]
        assert notes.parse_key(lines[0].removeprefix("log ")) == newest.key

    def test_jwks_has_the_same_keys(self, client):
        first, _stolen, newest = signing.known_keys()

        answer = client.get(f"{FILES}keys.jwks")

        found = json.loads(answer.content)["keys"]
        assert answer["Content-Type"] == "application/jwk-set+json"
        assert [each["kid"] for each in found] == [newest.key.key_id.hex(), first.key.key_id.hex()]
        assert base64.urlsafe_b64decode(found[0]["x"] + "=") == newest.key.public

    def test_pem_is_read_by_openssl(self, client, tmp_path):
        if not shutil.which("openssl"):
            pytest.skip("openssl is not installed")
        *_, newest = signing.known_keys()
        path = tmp_path / "keys.pem"
        path.write_text(client.get(f"{FILES}keys.pem").text)

        told = subprocess.run(
            ["openssl", "pkey", "-pubin", "-in", path, "-outform", "DER"],
            capture_output=True,
            check=True,
        ).stdout

        assert hashlib.sha256(told).hexdigest() == newest.fingerprint

    def test_history_is_the_signed_note(self, client):
        text, signers = notes.verify(client.get(f"{FILES}history.txt").text, keys=signing.trusted())

        assert text.startswith("landscape-keys/1\n")
        assert " compromised " in text
        assert signers

    def test_verifier_is_the_one_in_every_bag(self, client):
        answer = client.get(f"{FILES}verify.py")

        assert answer.content == Path(verify.__file__).read_bytes()
        told = client.get(f"{FILES}verify.py.sha256").text
        assert told == f"{hashlib.sha256(answer.content).hexdigest()}  verify.py\n"
        assert kept_by(answer) == {"public", "max-age=300"}
        assert not answer.cookies

    def test_has_no_other_files(self, client):
        assert client.get(f"{FILES}signing_key.pem").status_code == 404
        assert client.get(f"{FILES}../../secrets/signing_key.pem").status_code == 404
        assert client.post(f"{FILES}keys.pem").status_code == 405


@pytest.mark.browser
class TestLooks:
    def test_of_the_box_and_the_keys(self, page, dark_page, tamper, screenshot, axe):  # noqa: F811
        good, bad = sealed(), sealed()
        trail.check_run(run_id=good, at=after_noon(200))
        change_a_row(tamper, bad)
        unsealed = make_run(started_at=NOON).run_id
        signing.rotate(at=after_noon(300), reason="yearly")

        for each, theme in ((page, "light"), (dark_page, "dark")):
            for name, address in (
                ("sealed", f"/runs/{good}/"),
                ("differs", f"/runs/{bad}/"),
                ("unsealed", f"/runs/{unsealed}/"),
                ("runs", "/runs/"),
                ("keys", "/keys/"),
            ):
                each.goto(address)
                assert axe(each) == []
                screenshot(each, f"proof-{name}-{theme}")
