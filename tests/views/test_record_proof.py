"""The proof of one record: on its page, to take home, by API; and comparing on demand."""

from __future__ import annotations

import io
import json
import zipfile
from urllib.parse import quote

import pytest
from django.urls import reverse

from audit import lineage, tasks
from audit.evidence import lines, records, seals, signing
from audit.integrity import trail
from audit.models import AccessEvent, Artifact, Batch, Checkpoint, NodeState, SealCheck
from tests.builders import (
    after_noon,
    make_artifact,
    make_batch,
    make_call,
    make_checkpoint,
    make_outcome,
    make_refusal,
    make_rejection,
    make_run,
    make_world,
)
from tests.exports.conftest import bare
from tests.tampering import own_var, tamper  # noqa: F401  # fixtures

pytestmark = pytest.mark.django_db(databases=["default", "owner"], transaction=True)


@pytest.fixture(autouse=True)
def _var(own_var, monkeypatch):  # noqa: F811
    monkeypatch.setattr("audit.tasks._ring", lambda *_: None)


@pytest.fixture
def world():
    """A sealed run with one record of everything that has a page or a line of its own."""
    made = make_world(rows=2)
    token, state = made.tokens[0], NodeState.objects.filter(run_id=made.run.run_id).first()
    make_call(state)
    make_batch(made.transform, token)
    make_artifact(NodeState.objects.filter(node_id=made.sink.node_id).first())
    make_refusal(made.run)
    make_rejection(token, made.transform)
    make_checkpoint(token, made.sink)
    make_outcome(made.tokens[1], "buffered")
    seals.seal_run(run_id=made.run.run_id, at=after_noon(100))
    return made


def address(run_id, kind, key, name="record"):
    return reverse(f"audit:{name}", args=[run_id, kind, key])


def words(answer):
    return " ".join(answer.text.split())


class TestOnThePageOfTheRecord:
    def test_it_says_how_the_run_is_sealed_and_leads_to_the_proof(self, signed_in, world):
        run_id, token = world.run.run_id, world.tokens[0]
        state = NodeState.objects.filter(token_id=token.token_id).first()
        batch, artifact = Batch.objects.get().batch_id, Artifact.objects.get().artifact_id
        call = state.calls.get().call_id
        at = f"/runs/{run_id}"
        pages = {
            f"{at}/": ("run", run_id),
            f"{at}/rows/{token.row_id}/": ("row", f"0/{token.row_id}"),
            f"{at}/tokens/{token.token_id}/": ("token", token.token_id),
            f"{at}/nodes/{world.node.node_id}/": ("node", world.node.node_id),
            f"{at}/states/{state.state_id}/": ("node_state", state.state_id),
            f"{at}/calls/{call}/": ("call", call),
            f"{at}/batches/{batch}/": ("batch", batch),
            f"{at}/artifacts/{artifact}/": ("artifact", artifact),
            f"{at}/checkpoints/": ("checkpoint", Checkpoint.objects.get().checkpoint_id),
        }
        for page, (kind, key) in pages.items():
            answer = signed_in.get(page)
            leads = address(run_id, kind, key)
            assert f'href="{leads}"' in answer.text, page
            assert signed_in.get(leads).status_code == 200

        text = words(signed_in.get(f"{at}/tokens/{token.token_id}/"))
        assert "epoch 1, " in text
        assert "was not compared with the seal yet" in text
        assert "token_outcome" in text
        assert "transform_error" in text
        assert "validation_error" in signed_in.get(f"{at}/").text

    def test_it_tells_a_record_that_differs_from_others(self, signed_in, world, tamper):  # noqa: F811
        run_id, (first, second) = world.run.run_id, world.tokens
        page = f"/runs/{run_id}/tokens/"
        tamper(f"UPDATE tokens SET branch_name = '<b>x' WHERE token_id = '{first.token_id}'")
        trail.check_run(run_id=run_id, at=after_noon(200))

        one = words(signed_in.get(f"{page}{first.token_id}/"))
        other = words(signed_in.get(f"{page}{second.token_id}/"))

        assert "This record is not what was sealed: branch_name was sealed as null" in one
        assert "<b>x" not in one
        assert "is not among the 1 that differ" in other
        proof = words(signed_in.get(address(run_id, "token", first.token_id)))
        assert "The database has another record now" in proof
        assert f"differs from its seal at tokens {first.token_id}" in signed_in.get("/runs/").text
        leads = address(run_id, "token", first.token_id)
        findings = signed_in.get(f"/runs/{run_id}/").text.split('id="findings"')[1]
        assert f'href="{leads}"' in findings

    def test_it_says_that_nothing_is_sealed(self, signed_in):
        world = make_world(rows=1)
        token = world.tokens[0]

        text = words(signed_in.get(f"/runs/{world.run.run_id}/tokens/{token.token_id}/"))
        proof = signed_in.get(address(world.run.run_id, "token", token.token_id))

        assert "Nothing of this run is sealed yet" in text
        assert proof.status_code == 200
        assert "a worker does that, as a rule within a minute" in words(proof)

    def test_it_costs_one_question(self, world, count_queries):
        def ask():
            return lineage.read_record_seal(
                run_id=world.run.run_id, record_type="node", key=world.node.node_id
            )

        assert count_queries(ask) == 1
        for _ in range(5):
            trail.check_run(run_id=world.run.run_id, at=after_noon(200))
        assert count_queries(ask) == 1


class TestProofPage:
    def test_tells_the_place_in_the_tree(self, signed_in, world, read_only):
        here = address(world.run.run_id, "token", world.tokens[1].token_id)
        with read_only():
            answer = signed_in.get(here)

        size = seals.seals_of(world.run.run_id)[0].size
        assert f"of {size}: it leads to the root that was signed" in words(answer)
        assert f'href="{here}proof.zip"' in answer.text

    @pytest.mark.parametrize(
        ("kind", "key", "status"),
        [("token", "nobody", 404), ("nonsense", "x", 404), ("<b>", "x", 404), ("row", "/", 404)],
    )
    def test_knows_no_others(self, signed_in, world, kind, key, status):
        for name in ("record", "record-proof"):
            answer = signed_in.get(address(world.run.run_id, kind, key, name))
            assert answer.status_code == status
            assert "<b>" not in answer.text
        assert signed_in.get(address("nobody", "token", "x")).status_code == 404

    def test_says_that_text_is_damaged(self, signed_in, world, settings):
        for path in (settings.LANDSCAPE_VAR / "seals" / "segments").glob("*/*"):
            path.unlink()
        here = address(world.run.run_id, "token", world.tokens[1].token_id)

        assert "cannot be proven: segment" in words(signed_in.get(here))
        assert signed_in.get(f"{here}proof.zip").status_code == 404
        assert not AccessEvent.objects.filter(action="proof_given").exists()


class TestDownload:
    def test_of_every_type_is_verified_by_a_bare_python(self, signed_in, world, tmp_path):
        run_id = world.run.run_id
        with lines.snapshot():
            firsts = {
                kind.name: (list(lines.lines(kind, run_id)) or [None])[-1]
                for kind in records.RECORD_TYPES
            }
        key = str(signing.trusted()[-1])
        for name, line in firsts.items():
            if line is None:
                continue
            kind = records.BY_NAME[name]
            here = address(run_id, name, lines.key_text(kind, json.loads(line)), "record-proof")
            answer = signed_in.get(here)
            assert answer["Content-Type"] == "application/zip"
            assert answer["X-Content-Type-Options"] == "nosniff"
            assert "no-store" in answer["Cache-Control"]
            assert answer["Content-Disposition"].startswith(
                f'attachment; filename="landscape_{name}_'
            )
            with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
                file.extractall(tmp_path / name)
            (record,) = (tmp_path / name).glob("*/*.json")
            assert record.read_bytes() == line[:-1]
            if name in {"row", "token_parent", "batch_member"}:
                assert bare(record, "--key", key)["verdict"] == "VERIFIED"
        given = AccessEvent.objects.filter(action="proof_given", run_id=run_id)
        assert given.count() == sum(line is not None for line in firsts.values())

    def test_is_kept_before_the_first_byte(self, signed_in, world, monkeypatch):
        here = address(world.run.run_id, "token", world.tokens[1].token_id, "record-proof")
        signed_in.head(here)
        assert not AccessEvent.objects.filter(action="proof_given").exists()
        signed_in.get(here)
        event = AccessEvent.objects.get(action="proof_given")
        assert event.object_id.startswith("token/")

        def refuse(**_):
            raise OSError("no room")

        monkeypatch.setattr("audit.access.record", refuse)
        with pytest.raises(OSError, match="no room"):
            signed_in.get(here)

    @pytest.mark.parametrize("role", ["viewer", "exporter", "administrator"])
    def test_with_contents_is_for_those_who_may_reveal_them(self, client_of, world, role):
        client, run_id = client_of(role), world.run.run_id
        state = NodeState.objects.filter(run_id=run_id).first()
        held = address(run_id, "node_state", state.state_id)

        assert "members of the group auditor" in words(client.get(held))
        assert client.get(f"{held}proof.zip").status_code == 403
        assert client.get(f"/api/v1{held}").status_code == 403
        assert (
            client.get(
                address(run_id, "token", world.tokens[0].token_id, "record-proof")
            ).status_code
            == 200
        )

    def test_is_for_nobody_without_a_role(self, client, client_of, world):
        here = address(world.run.run_id, "token", world.tokens[0].token_id, "record-proof")
        assert client.get(here).status_code == 302
        assert client_of().get(here).status_code == 403


class TestApi:
    def test_gives_the_two_files(self, signed_in, world, tmp_path):
        run_id, token = world.run.run_id, world.tokens[1]

        answer = signed_in.get(f"/api/v1/runs/{run_id}/records/token/{token.token_id}/")

        told = answer.json()
        assert (told["record_type"], told["epoch"]) == ("token", 1)
        assert "no-store" in answer["Cache-Control"]
        (tmp_path / "r.json").write_bytes(told["line"].encode())
        (tmp_path / "r.json.tlog-proof").write_bytes(told["tlog_proof"].encode())
        report = bare(tmp_path / "r.json", "--key", str(signing.trusted()[-1]))
        assert (report["verdict"], report["record"]) == ("VERIFIED", told["index"])
        assert AccessEvent.objects.get(action="proof_given").address == "127.0.0.1"

    def test_says_what_it_cannot_prove(self, signed_in, world, settings):
        at = f"/api/v1/runs/{world.run.run_id}/records/"
        assert signed_in.get(f"{at}token/nobody/").status_code == 404
        assert signed_in.get(f"{at}nonsense/x/").status_code == 404
        for path in (settings.LANDSCAPE_VAR / "seals" / "segments").glob("*/*"):
            path.unlink()
        answer = signed_in.get(f"{at}token/{world.tokens[0].token_id}/")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_provable")


class TestComparingOnDemand:
    def test_is_asked_for_and_its_page_says_when_it_is_done(self, signed_in, world, monkeypatch):
        rung = []
        monkeypatch.setattr("audit.tasks._ring", lambda task, *told: rung.append((task, told)))

        answer = signed_in.post(f"/runs/{world.run.run_id}/check/")

        assert answer.status_code == 302
        assert "is not done yet" in words(signed_in.get(answer.url))
        ((task, told),) = rung
        task(*told)
        task(*told)
        assert "The comparison that was asked for is done." in words(signed_in.get(answer.url))
        assert SealCheck.objects.count() == 1

    def test_is_not_for_everybody(self, client_of, signed_in, world):
        at = f"/runs/{world.run.run_id}/"
        assert client_of("viewer").post(f"{at}check/").status_code == 403
        assert "Compare with the seal now" not in client_of("retention approver").get(at).text
        assert signed_in.post("/runs/nobody/check/").status_code == 404
        assert signed_in.get(f"{at}?asked=noon").status_code == 400
        assert signed_in.get(f"{at}?asked=2026-01-01").status_code == 400
        assert signed_in.get(f"{at}?asked={quote('2026-01-01T00:00:00+00:00')}").status_code == 200


class TestScheduled:
    def test_over_a_cycle_everything_is_compared(self):
        run_ids = set()
        for _ in range(4):
            run = make_world(rows=1).run
            seals.seal_run(run_id=run.run_id, at=after_noon(100))
            run_ids.add(run.run_id)
        make_run()
        seen = []
        for tick in range(8):
            at = after_noon(1000 + 61 * tick)
            run_id = trail.due(at=at)
            assert trail.check_if_due(run_id=run_id, at=at)
            seen.append(run_id)
            # A bell that was heard twice, and the next sweep: it rests.
            assert not trail.check_if_due(run_id=run_id, at=at)
            assert trail.due(at=at) is None

        assert set(seen[:4]) == set(seen[4:]) == run_ids

    def test_rests_the_longer_the_more_it_compared(self, world):
        seal = seals.seals_of(world.run.run_id)[0]
        seals.note_check(seal=seal, records=1_800_000, differences=0, at=after_noon(0))

        assert trail.due(at=after_noon(899)) is None
        assert trail.due(at=after_noon(901)) == world.run.run_id

    def test_is_rung_for_by_the_sweeper_once(self, world, monkeypatch):
        rung = []
        monkeypatch.setattr("audit.tasks._ring", lambda task, *told: rung.append((task.name, told)))
        monkeypatch.setattr(tasks, "_unchecked", tasks._Pauses(first=30, longest=30))

        tasks.sweep()
        tasks.sweep()

        told = [each for each in rung if each[0].endswith("run_trail_check")]
        assert told == [("audit.tasks.run_trail_check", (world.run.run_id,))]

    def test_writes_a_finding_once_however_often_it_differs(self, world, tamper):  # noqa: F811
        tamper("UPDATE nodes SET plugin_version = 'x' WHERE node_type = 'sink'")
        for tick in range(3):
            trail.check_run(run_id=world.run.run_id, at=after_noon(200 + tick))

        assert world.run.findings.count() == 1
        assert SealCheck.objects.filter(differences=1).count() == 3

    def test_goes_on_behind_a_seal_that_makes_no_sense(self, world, tamper):  # noqa: F811
        tamper("UPDATE seals SET schema_json = '[]', segments_json = '{}', counts_json = '7'")

        report = trail.check_run(run_id=world.run.run_id, at=after_noon(200))

        assert report.broken
        assert SealCheck.objects.get().differences


@pytest.mark.browser
class TestLooks:
    def test_of_a_proof(self, page, dark_page, world, tamper, screenshot, axe):  # noqa: F811
        run_id, (first, second) = world.run.run_id, world.tokens
        tamper(f"UPDATE tokens SET branch_name = 'x' WHERE token_id = '{first.token_id}'")
        trail.check_run(run_id=run_id, at=after_noon(200))
        unsealed = make_world(rows=1)

        for each, theme in ((page, "light"), (dark_page, "dark")):
            for name, there in (
                ("record", address(run_id, "token", second.token_id)),
                ("record-differs", address(run_id, "token", first.token_id)),
                ("record-unsealed", address(unsealed.run.run_id, "run", unsealed.run.run_id)),
                ("row", f"/runs/{run_id}/rows/{first.row_id}/"),
            ):
                each.goto(there)
                assert axe(each) == []
                screenshot(each, f"proof-{name}-{theme}")
