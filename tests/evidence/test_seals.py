"""Seals: made once, held by keys of the database, appended to and never rewritten."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from django.conf import settings as live
from django.core.management import CommandError, call_command
from django.db import Error, IntegrityError, connection, connections, transaction

from audit import recorder
from audit.canonical import sha256
from audit.errors import CannotBeSealed, NoSigningKey, NotRecorded, SealContradicted
from audit.evidence import comparing, lines, log, merkle, notes, records, seals, signing, store
from audit.models import KeyEvent, Run, Seal, SealLogEntry
from tests.builders import NOON, after_noon, make_import, make_world
from tests.evidence.test_lines import written
from tests.recorder import world as told

pytestmark = pytest.mark.django_db(databases=["default", "owner"], transaction=True)


@pytest.fixture(autouse=True)
def _payloads(settings, tmp_path):
    settings.STORAGES = settings.STORAGES | {"payloads": {"BACKEND": "audit.payloads.PayloadFiles"}}


def seal(run_id, seconds=100):
    return seals.seal_run(run_id=run_id, at=after_noon(seconds))


def sealed_lines(found):
    return list(store.read_lines(comparing.segments_of(found)))


def failed_run(run_id="r", *, checkpoint=False):
    """A run with one token under way, that failed; it can be resumed."""
    told.make_run(run_id)
    told.make_token("t", run_id)
    told.make_state("t", run_id=run_id)
    if checkpoint:
        recorder.create_checkpoint(
            run_id=run_id,
            token_id="t",
            node_id="model",
            upstream_topology_hash=told.SHA,
            node_config_hash=told.SHA,
            at=NOON,
        )
    recorder.complete_run(run_id=run_id, status="failed", at=NOON)
    return run_id


def resume(run_id="r"):
    """Go on where it failed, and end well."""
    recorder.resume_run(run_id=run_id, at=after_noon(200))
    told.end_state("t@model", run_id=run_id)
    told.end_token("t", run_id=run_id)
    recorder.complete_run(run_id=run_id, status="completed", at=after_noon(210))


class TestSealRun:
    def test_signs_the_root_over_the_seal_and_every_record(self):
        world = make_world(rows=3)

        found = seal(world.run.run_id)

        leaves = sealed_lines(found)
        assert leaves[1:] == written(world.run.run_id)
        tree = merkle.Tree()
        tree.extend([merkle.leaf_hash(line[:-1]) for line in leaves])
        checkpoint = notes.open_checkpoint(found.checkpoint, keys=signing.trusted())
        assert checkpoint.root == tree.root()
        assert checkpoint.size == found.size == len(leaves)
        assert checkpoint.origin == f"audit.example.com/landscape/run/{world.run.run_id}"
        assert seals.verified(found) == checkpoint

    def test_begins_with_what_the_seal_is(self):
        world = make_world(rows=2)

        first = json.loads(sealed_lines(seal(world.run.run_id))[0])

        counts = json.loads(first.pop("counts_json"))
        assert counts["row"] == 2
        assert counts["transform_error"] == 0
        assert set(counts) == {kind.name for kind in records.RECORD_TYPES}
        assert first == {
            "record_type": "seal",
            "run_id": world.run.run_id,
            "epoch": 1,
            "reason": "run_completed",
            "sealed_at": "2026-11-22T12:01:40.000000Z",
            "first_leaf": "0",
            "prev_size": "0",
            "prev_root": None,
            "reproducibility_grade": None,
            "schema_sha256": sha256(records.schema_bytes()),
        }

    def test_says_why(self):
        failed, imported = make_world(status="failed"), make_world()
        make_import(imported.run)

        assert seal(failed.run.run_id).reason == "run_failed"
        assert seal(imported.run.run_id).reason == "imported"

    def test_gives_the_same_root_wherever_and_whenever_it_is_made(self):
        first, second = make_world(run_id="same"), make_world(run_id="other")
        one = seal("same")
        del first, second

        again = store.Writer()
        again.write(sealed_lines(one))
        segments = again.close()

        assert again.tree.root().hex() == one.root
        assert segments == comparing.segments_of(one)

    def test_is_done_once(self):
        world = make_world()
        first = seal(world.run.run_id)

        assert seal(world.run.run_id, 200) is None
        assert list(Seal.objects.all()) == [first]

    def test_refuses_a_run_that_is_going(self):
        world = make_world(status="running")

        with pytest.raises(CannotBeSealed, match="still running"):
            seal(world.run.run_id)

    def test_refuses_what_is_not_there(self):
        with pytest.raises(NotRecorded):
            seal("nothing")

    def test_cannot_run_inside_another_transaction(self):
        world = make_world()

        with pytest.raises(RuntimeError), transaction.atomic():
            seal(world.run.run_id)

    def test_is_for_one_process_at_a_time(self):
        world = make_world()
        key = f"landscape seal {world.run.run_id}"
        with connections["owner"].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [key])
            with pytest.raises(CannotBeSealed, match="another process"):
                seal(world.run.run_id)
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key])

        assert seal(world.run.run_id)

    def test_cuts_the_records_into_segments(self, monkeypatch):
        monkeypatch.setattr(store, "SEGMENT", 256)
        world = make_world(rows=100)

        found = seal(world.run.run_id)

        segments = comparing.segments_of(found)
        assert [each.records for each in segments] == [256, found.size - 256]
        assert sealed_lines(found)[1:] == written(world.run.run_id)
        assert list(store.read_lines(segments, start=300)) == sealed_lines(found)[300:]

    def test_costs_the_same_statements_at_two_sizes(self, count_queries):
        small, large = make_world(rows=1), make_world(rows=60)
        seal(make_world().run.run_id)  # introduces the key

        costs = {count_queries(lambda w=w: seal(w.run.run_id)) for w in (small, large)}

        assert len(costs) == 1
        assert costs.pop() <= 60


class TestEpochs:
    def test_append_what_a_resumed_run_adds(self):
        failed_run()
        first = seal("r")
        before = sealed_lines(first)
        resume()

        second = seal("r", 300)

        assert (second.epoch, second.reason) == (2, "run_resumed")
        assert (second.first_leaf, second.prev_size, second.prev_root) == (
            first.size,
            first.size,
            first.root,
        )
        leaves = sealed_lines(second)
        assert leaves[: first.size] == before
        types = [json.loads(line)["record_type"] for line in leaves[first.size :]]
        assert types == ["seal", "run", "token_outcome", "node_state", "run_event", "run_event"]
        counts = json.loads(second.counts_json)
        assert {name: count for name, count in counts.items() if count} == {
            "run": 1,
            "token_outcome": 1,
            "node_state": 1,
            "run_event": 2,
        }

    def test_contain_the_tree_before(self):
        failed_run()
        first = seal("r")
        resume()
        second = seal("r", 300)
        hashes = [merkle.leaf_hash(line[:-1]) for line in sealed_lines(second)]

        proof = merkle.prove(
            merkle.consistency_path(first.size, second.size),
            lambda _level, start, count: hashes[start : start + count],
        )

        assert merkle.roots_from_consistency(
            old=first.size,
            new=second.size,
            old_root=bytes.fromhex(first.root),
            proof=proof,
        ) == (bytes.fromhex(first.root), bytes.fromhex(second.root))

    def test_go_on_in_the_middle_of_a_segment(self, tamper):
        """The second epoch begins behind a whole segment, inside the next one."""
        failed_run()
        tamper(
            "INSERT INTO rows (run_id, row_id, source_node_id, row_index, source_data_hash, "
            "created_at) SELECT 'r', 'more' || n, 'source', n, '', now() "
            "FROM generate_series(1, 65700) n"
        )
        first = seal("r")
        resume()

        second = seal("r", 300)

        before, after = comparing.segments_of(first), comparing.segments_of(second)
        assert before[0] == after[0]
        assert before[1] != after[1]
        tree = merkle.Tree()
        tree.extend([merkle.leaf_hash(line[:-1]) for line in sealed_lines(second)])
        assert tree.root().hex() == second.root
        with lines.snapshot():
            assert list(comparing.differences([first, second])) == []

    def test_append_released_checkpoints(self):
        failed_run(checkpoint=True)
        seal("r")
        recorder.release_checkpoints(run_id="r", reason="done", at=after_noon(5))

        assert seal("r", 200).reason == "correction"

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE nodes SET plugin_version = '2' WHERE node_id = 'model'",
            "UPDATE rows SET source_data_hash = 'x'",
            "UPDATE runs SET reproducibility_grade = 'attributable_only'",
            "UPDATE runs SET config_hash = 'x'",
            "UPDATE node_states SET input_hash = 'x'",
            "DELETE FROM edges WHERE edge_id = 'source>continue'",
            "INSERT INTO run_events VALUES ('r', 'zz', 'status_changed', now(), NULL)",
        ],
    )
    def test_are_never_made_of_what_was_tampered_with(self, statement, tamper):
        failed_run()
        seal("r")
        tamper(statement)

        with pytest.raises(SealContradicted, match=r"r|runs|nodes|rows|edges"):
            seal("r", 200)

        assert Seal.objects.count() == 1

    def test_are_not_made_of_a_resume_that_cannot_be(self, tamper):
        world = make_world()
        seal(world.run.run_id)
        tamper(f"INSERT INTO run_events VALUES ('{world.run.run_id}','e','resumed',now(),NULL)")

        with pytest.raises(SealContradicted, match="run_events e was not sealed"):
            seal(world.run.run_id, 200)


class TestTheDatabase:
    """What the signer must never do is held by keys, whatever the program."""

    def copy_of(self, first, **columns):
        values = {f.column: getattr(first, f.column) for f in Seal._meta.concrete_fields}
        return Seal(**values | columns)

    @pytest.mark.parametrize(
        "columns",
        [
            {"root": "ab" * 32},
            {"epoch": 2},
            {"epoch": 3, "prev_epoch": 1, "size": 1000},
            {"epoch": 2, "prev_epoch": 1, "size": 5},
            {"epoch": 2, "prev_epoch": 1, "size": 1000, "prev_root": "cd" * 32},
        ],
    )
    def test_refuses_a_second_or_smaller_root(self, columns):
        first = seal(make_world().run.run_id)
        if columns.get("prev_epoch"):
            chain = {"prev_size": first.size, "first_leaf": first.size, "prev_root": first.root}
            columns = chain | columns

        with pytest.raises(IntegrityError):
            self.copy_of(first, **columns).save(force_insert=True)

    @pytest.mark.parametrize(
        ("table", "column"),
        [
            ("seals", "root"),
            ("seal_log", "root"),
            ("seal_checks", "run_id"),
            ("key_events", "reason"),
        ],
    )
    def test_only_lets_evidence_grow(self, table, column):
        seal(make_world().run.run_id)
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = '1'"):
            with pytest.raises(Error, match="permission denied"), connection.cursor() as cursor:
                cursor.execute(statement)
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with (
                pytest.raises(Error, match="only grows"),
                connections["owner"].cursor() as cursor,
            ):
                cursor.execute(statement)


class TestTheLog:
    def test_holds_every_seal_in_one_growing_tree(self):
        made = [seal(make_world().run.run_id, 100 + index) for index in range(5)]

        entries = list(SealLogEntry.objects.order_by("leaf_index"))

        assert [each.leaf_index for each in entries] == [0, 1, 2, 3, 4]
        hashes = [merkle.leaf_hash(each.leaf_text.encode()) for each in entries]
        for size, entry in enumerate(entries, 1):
            tree = merkle.Tree()
            tree.extend(hashes[:size])
            signed = notes.open_checkpoint(entry.checkpoint, keys=signing.trusted())
            assert signed == notes.Checkpoint("audit.example.com/landscape", size, tree.root())
        assert [each.leaf_text for each in entries] == [seals.verified(each).text for each in made]
        assert log.faults() == []

    def test_proves_a_seal_and_its_own_growth(self):
        made = [seal(make_world().run.run_id, 100 + index) for index in range(7)]

        proof = notes.parse_proof(log.prove_seal(made[2]).text)

        signed = notes.open_checkpoint(proof.note, keys=signing.trusted())
        leaf = merkle.leaf_hash(seals.verified(made[2]).text.encode())
        assert signed.root == merkle.root_from_inclusion(
            leaf=leaf, index=proof.index, size=signed.size, proof=proof.hashes
        )
        roots = [bytes.fromhex(each.root) for each in SealLogEntry.objects.order_by("leaf_index")]
        assert merkle.roots_from_consistency(
            old=3, new=7, old_root=roots[2], proof=log.prove_growth(old=3, new=7)
        ) == (roots[2], roots[6])
        with pytest.raises(ValueError, match="not as long"):
            log.prove_growth(old=3, new=8)

    def test_heals_what_was_not_logged(self, monkeypatch):
        world = make_world()
        with monkeypatch.context() as patch:
            patch.setattr(log, "append", lambda **_: 0)
            found = seal(world.run.run_id)
        with pytest.raises(NotRecorded):
            log.prove_seal(found)
        assert log.faults() == [f"{found} is not in the seal log"]

        assert log.append(at=after_noon(300)) == 1
        assert log.append(at=after_noon(300)) == 0
        assert log.prove_seal(found).index == 0

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE seal_log SET leaf_text = leaf_text || 'x' WHERE leaf_index = 1",
            "UPDATE seal_log SET checkpoint = translate(checkpoint, '2', '3')",
            "UPDATE seals SET checkpoint = 'x' || checkpoint",
        ],
    )
    def test_names_what_was_tampered_with(self, statement, tamper):
        for _ in range(3):
            seal(make_world().run.run_id)
        tamper(statement)

        assert log.faults()

    def test_does_not_go_on_from_an_edge_that_was_tampered_with(self, tamper):
        seal(make_world().run.run_id)
        tamper("UPDATE seal_log SET edge = sha256('x')")

        with pytest.raises(CannotBeSealed, match="not what was signed last"):
            seal(make_world().run.run_id)


class TestKeys:
    def test_are_made_at_the_first_seal_for_their_user_only(self):
        seal(make_world().run.run_id)

        path = Path(live.SIGNING_KEY_FILE)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        (key,) = signing.known_keys()
        assert (key.status, key.introduced_at) == ("active", after_noon(100))
        assert key.pem.startswith("-----BEGIN PUBLIC KEY-----")

    def test_come_from_the_environment(self, settings):
        settings.LANDSCAPE_SIGNING_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

        signer = signing.current(at=NOON)

        assert str(signer.key).startswith("audit.example.com/landscape+c5f4b3ab+")
        assert signing.known_keys()[0].fingerprint == (
            "a050837d85070582ccf7394b0988847cc312cb88259b894899f6f239cf1791a5"
        )

    @pytest.mark.parametrize("given", ["AAEC", "not base64!"])
    def test_of_another_shape_are_refused(self, settings, given):
        settings.LANDSCAPE_SIGNING_KEY = given

        with pytest.raises(NoSigningKey, match="32 bytes"):
            signing.current(at=NOON)

    def test_are_not_for_the_web(self, settings):
        signing.current(at=NOON)
        settings.SIGNING_KEY_FILE = None

        with pytest.raises(NoSigningKey, match="does not sign"):
            signing.current(at=NOON)

        assert len(signing.trusted()) == 1

    def test_are_not_invented_in_production(self, settings):
        settings.MAY_INVENT_SIGNING_KEY = False

        with pytest.raises(NoSigningKey, match="LANDSCAPE_SIGNING_KEY is not set"):
            signing.current(at=NOON)

    def test_cannot_be_exchanged_by_hand(self, settings):
        signing.current(at=NOON)
        settings.LANDSCAPE_SIGNING_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

        with pytest.raises(NoSigningKey, match="rotate_key"):
            signing.current(at=NOON)

    def test_are_rotated_with_a_history_that_both_sign(self):
        world = make_world()
        old = seal(world.run.run_id)

        call_command("rotate_key", reason="yearly")

        first, second = signing.known_keys()
        assert (first.status, second.status) == ("retired", "active")
        assert seals.verified(old)
        assert seal(make_world().run.run_id).key_id == second.key.key_id.hex() != old.key_id
        text, signed_by = notes.verify(signing.history(), keys=signing.trusted())
        assert signed_by == [first.key, second.key]
        assert [line.split()[1] for line in text.splitlines()[1:]] == [
            "introduced",
            "retired",
            "introduced",
        ]
        kept = list(Path(live.SIGNING_KEY_FILE).parent.glob("signing_key.*.pem"))
        assert len(kept) == 1

    def test_may_turn_out_to_be_compromised(self):
        signing.current(at=NOON)

        signing.rotate(at=after_noon(9), reason="stolen", compromised_since=after_noon(5))

        first, _second = signing.known_keys()
        assert (first.status, first.compromised_since) == ("compromised", after_noon(5))

    def test_from_the_environment_are_rotated_there(self, settings):
        settings.LANDSCAPE_SIGNING_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

        with pytest.raises(CommandError, match="environment"):
            call_command("rotate_key", reason="x")

    def test_sign_nothing_but_notes_and_envelopes(self):
        signer = signing.current(at=NOON)

        assert len(signer.sign_pae(b"DSSEv1 4 text 1 x")) == 64
        with pytest.raises(ValueError, match="DSSE"):
            signer.sign_pae(b"anything")
        assert KeyEvent.objects.count() == 1


class TestTheCommand:
    def test_seals(self, capsys):
        world = make_world()

        call_command("seal_run", world.run.run_id)
        call_command("seal_run", world.run.run_id)

        said = capsys.readouterr().out
        assert f"epoch 1 (run_completed), {Seal.objects.get().size} leaves" in said
        assert "nothing was added" in said

    def test_says_why_not(self):
        with pytest.raises(CommandError, match="no run nothing"):
            call_command("seal_run", "nothing")

    def test_leaves_the_run_alone(self):
        world = make_world()
        before = Run.objects.values().get()

        call_command("seal_run", world.run.run_id)

        assert Run.objects.values().get() == before
