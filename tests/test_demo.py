"""The demo: what its three runs hold, and that telling them again changes nothing."""

import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from audit import payloads, recorder
from audit.imports.sweep import CHECKS
from audit.management.demo import claims, story
from audit.models import (
    AUDIT_MODELS,
    Artifact,
    ArtifactMember,
    Batch,
    BatchMember,
    BatchOutput,
    Call,
    Checkpoint,
    Node,
    NodeState,
    Operation,
    Payload,
    RoutingEvent,
    Row,
    Run,
    RunEvent,
    RunSummary,
    Token,
    TokenOutcome,
    TransformError,
    ValidationError,
)
from audit.vocabulary import FindingLevel
from tests.builders import make_run

pytestmark = pytest.mark.django_db

DAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
WHOLE, RESUMED, RUNNING = (plan.run_id for plan in story.plans(first_day=DAY, now=NOW))

# Ids that no caller gives and no page is reached by.
CHANCE = {"token_outcomes": "outcome_id", "routing_events": "event_id"} | {
    "batch_outputs": "batch_output_id"
}


def demo(**options):
    said = io.StringIO()
    call_command("demo", first_day=DAY, stdout=said, **options)
    return said.getvalue()


def content(run_id):
    """Everything on record of a run, but for ids that are chance."""
    found = {"payloads": sorted(Payload.objects.values_list("content_hash", "size_bytes"))}
    for model in AUDIT_MODELS:
        table = model._meta.db_table
        records = [
            {name: value for name, value in each.items() if name != CHANCE.get(table)}
            for each in model.objects.filter(run_id=run_id).values()
        ]
        found[table] = sorted(map(repr, records))
    return found


def error_findings(run_id):
    """What the importer would say of a run, as {code: keys}."""
    found = {}
    with connection.cursor() as cursor:
        for check in CHECKS:
            if check.level == FindingLevel.ERROR:
                cursor.execute(check.statement, {"run": run_id})
                if keys := {row[0] for row in cursor.fetchall()}:
                    found.setdefault(check.code, set()).update(keys)
    return found


def kept(ref):
    return json.loads(payloads.read(ref))


def some_claims(**options):
    """A short run: one claim fails, one is asked about twice, most go through."""
    defaults = {
        "run_id": "short",
        "title": "short",
        "first_claim": 299,
        "claims": 10,
        "version": story.plans(first_day=DAY, now=NOW)[0].version,
        "start": datetime(2026, 11, 20, 6, tzinfo=UTC),
    }
    return story.Plan(**defaults | options)


class TestDemo:
    def test_tells_three_runs_and_only_once(self):
        said = demo()

        assert "(complete): 120 claims" in said
        self.check_every_run()
        self.check_the_hospital_claim()
        self.check_what_went_wrong()
        self.check_outputs()
        self.check_the_resumed_run()
        self.check_the_running_run()

        counts = {model: model.objects.count() for model in (*AUDIT_MODELS, Payload)}
        again = demo()
        assert again.count("on record already") == 3
        assert {model: model.objects.count() for model in counts} == counts

    def check_every_run(self):
        runs = {run.run_id: run for run in Run.objects.all()}
        assert {run_id: run.status for run_id, run in runs.items()} == {
            WHOLE: "completed",
            RESUMED: "completed",
            RUNNING: "running",
        }
        assert runs[WHOLE].started_at.date() == DAY
        assert runs[WHOLE].config_hash != runs[RESUMED].config_hash == runs[RUNNING].config_hash
        assert [
            json.loads(runs[run_id].settings_json)["nodes"]["conf_gate"]["threshold"]
            for run_id in (WHOLE, RESUMED)
        ] == ["0.70", "0.75"]
        for run_id in runs:
            # Outputs of batches have parents without a group; the original had no such tokens.
            outputs = set(
                BatchOutput.objects.filter(run_id=run_id).values_list("output_id", flat=True)
            )
            assert error_findings(run_id) == ({"PARENTS": outputs} if outputs else {})
        for run_id in (WHOLE, RESUMED):
            final = TokenOutcome.objects.filter(run_id=run_id, is_terminal=True)
            assert final.count() == Token.objects.filter(run_id=run_id).count()
        assert json.loads(RunSummary.objects.get(run_id=WHOLE).outcomes_json) == {
            "coalesced": 306,
            "completed": 14,
            "consumed_in_batch": 685,
            "expanded": 102,
            "failed": 5,
            "forked": 103,
            "quarantined": 2,
            "routed": 19,
        }

    def check_the_hospital_claim(self):
        row = Row.objects.get(run_id=WHOLE, row_index=claims.HOSPITAL_CLAIM - 241)
        assert kept(row.source_data_ref)["claim_id"] == 311
        tokens = Token.objects.filter(run_id=WHOLE, row_id=row.row_id)
        branches = tokens.filter(fork_group_id__isnull=False).order_by("token_id")
        assert [each.branch_name for each in branches] == ["coverage", "fraud_score", "summary"]
        scored = NodeState.objects.filter(
            run_id=WHOLE, token_id=branches[1].token_id, step_index=4
        ).order_by("attempt")
        assert [state.status for state in scored] == ["failed", "completed"]
        merged = tokens.get(join_group_id__isnull=False)
        assert merged.token_id in {each.token_id for each in tokens}
        lines = list(tokens.filter(expand_group_id__isnull=False).order_by("token_id"))
        assert len(lines) == claims.HOSPITAL_LINES

        over, unknown = lines[claims.LINE_OVER_TARIFF], lines[claims.LINE_OUT_OF_CATALOGUE]
        outcome = TokenOutcome.objects.get(run_id=WHOLE, token_id=over.token_id)
        assert (outcome.outcome, outcome.sink_name) == ("routed", "review_queue")
        event = RoutingEvent.objects.get(run_id=WHOLE, state__token_id=over.token_id)
        assert kept(event.reason_ref) == {
            "rule": "billed <= tariff * 1.05",
            "inputs": {
                "billed": "412.00",
                "tariff": "380.00",
                "tariff_code": "T-4410",
                "currency": "EUR",
            },
            "threshold": "399.00",
            "verdict": "over_tariff",
            "over_by": "13.00",
        }
        assert event.state.attempt == 1

        tried = NodeState.objects.filter(run_id=WHOLE, token_id=unknown.token_id, step_index=7)
        assert sorted(tried.values_list("attempt", "status")) == [(n, "failed") for n in range(3)]
        (error,) = recorder.get_transform_errors_for_token(run_id=WHOLE, token_id=unknown.token_id)
        told = kept(error.error_details_ref)["message"]
        assert told == "tariff code ‹T-9901› is not in the catalogue"

        call = Call.objects.get(run_id=WHOLE, state__token__row_id=row.row_id, state__step_index=2)
        assert "Claim 311" in kept(call.request_ref)["messages"][1]["content"]
        assert "18,406.20 EUR" in kept(call.request_ref)["messages"][1]["content"]
        assert json.loads(kept(call.response_ref)["content"])["confidence"] == 0.91

    def check_what_went_wrong(self):
        refused = ValidationError.objects.filter(run_id=WHOLE)
        assert sorted(kept(each.error_ref)["message"] for each in refused) == [
            "amount: ‹1.240,OO› is not a decimal number",
            "amount: ‹n/a› is not a decimal number",
        ]
        assert not Token.objects.filter(run_id=WHOLE, row_id__in=refused.values("row_id"))
        assert TransformError.objects.filter(run_id=WHOLE).count() == 4
        down = NodeState.objects.filter(run_id=WHOLE, step_index=4, attempt=2, status="failed")
        assert down.count() == 1
        assert NodeState.objects.filter(run_id=WHOLE, step_index=5, status="failed").count() == 2
        assert Call.objects.filter(run_id=WHOLE, status="error").count() >= 10

    def check_outputs(self):
        delivered = TokenOutcome.objects.filter(
            run_id__in=[WHOLE, RESUMED], outcome__in=["completed", "routed"]
        )
        members = ArtifactMember.objects.filter(run_id__in=[WHOLE, RESUMED])
        assert sorted(delivered.values_list("token_id", flat=True)) == sorted(
            members.values_list("token_id", flat=True)
        )
        assert Artifact.objects.filter(run_id=WHOLE).count() == 10
        assert set(Batch.objects.filter(run_id=WHOLE).values_list("status", "trigger_type")) == {
            ("completed", "count"),
            ("completed", "end_of_source"),
        }
        assert BatchMember.objects.filter(run_id=WHOLE).count() == 685
        kinds = Operation.objects.filter(run_id=WHOLE).values_list("operation_type", "status")
        assert set(kinds) == {("source_load", "completed"), ("sink_write", "completed")}
        assert Node.objects.filter(run_id=WHOLE).count() == 14

    def check_the_resumed_run(self):
        events = RunEvent.objects.filter(run_id=RESUMED).order_by("event_id")
        assert [event.kind for event in events] == [
            "status_changed",
            "resumed",
            "checkpoints_released",
            "status_changed",
        ]
        resumed_from = json.loads(events[1].detail_json)["checkpoint_id"]
        numbers = Checkpoint.objects.filter(run_id=RESUMED).order_by("sequence_number")
        assert [each.checkpoint_id for each in numbers].index(resumed_from) == 0
        written = NodeState.objects.filter(run_id=RESUMED, node_id__contains="payments_csv")
        again = written.filter(token_id__in=written.filter(attempt=1).values("token_id"))
        assert set(again.values_list("attempt", "status")) == {(0, "failed"), (1, "completed")}
        assert Operation.objects.filter(run_id=RESUMED, status="failed").count() == 2

    def check_the_running_run(self):
        assert Row.objects.filter(run_id=RUNNING).count() == 30
        assert Operation.objects.get(run_id=RUNNING, status="open").operation_type == "source_load"

    def test_tells_of_a_run_in_yesterdays_and_todays_past(self):
        for now in (NOW, NOW.replace(hour=0, minute=30), NOW.replace(hour=8)):
            first, second, third = story.plans(first_day=None, now=now)

            assert first.day == second.day - timedelta(days=1)
            assert timedelta(hours=1) < now - second.start < timedelta(hours=27)
            assert timedelta(minutes=5) < now - third.start < timedelta(minutes=10)

    def test_refuses_a_number_of_claims_without_live(self):
        with pytest.raises(CommandError, match="give both"):
            demo(claims=3)


class TestRecord:
    def test_tells_the_same_on_every_machine(self):
        told = []
        for _ in range(2):
            with transaction.atomic():
                list(story.record(some_claims()))
                told.append(content("short"))
                transaction.set_rollback(True)

        assert told[0] == told[1]
        assert len(told[0]["tokens"]) > 50

    def test_goes_on_behind_the_last_group_when_it_was_stopped(self, monkeypatch):
        monkeypatch.setattr(story, "GROUP", 2)
        plan = some_claims(crashes=True)
        with transaction.atomic():
            list(story.record(plan))
            whole = content("short")
            transaction.set_rollback(True)

        for groups in (1, 1, 2):
            recording = story.record(plan)
            for _ in range(groups):
                next(recording)
            recording.close()
            assert story.missing(plan)
        list(story.record(plan))

        assert content("short") == whole
        assert not story.missing(plan)
        assert list(story.record(plan)) == []

    def test_prices_the_hospital_claim_to_the_cent(self):
        claim = claims.claim(claims.HOSPITAL_CLAIM, day=DAY)

        assert sum(line.billed for line in claim.lines) == Decimal(claim.amount)
        assert all(line.billed > 0 for line in claim.lines)


class TestLive:
    def test_moves_the_running_run_and_leaves_it_running(self, signed_in):
        demo(live=True, claims=2)
        before = signed_in.get(f"/runs/{RUNNING}/").text
        demo(live=True, claims=3)
        after = signed_in.get(f"/runs/{RUNNING}/").text

        assert [Row.objects.filter(run_id=RUNNING).count(), Run.objects.count()] == [35, 1]
        assert Run.objects.get().status == "running"
        assert ("32 rows" in before, "35 rows" in after) == (True, True)
        assert error_findings(RUNNING).keys() <= {"PARENTS"}

    def test_tells_nothing_of_the_future_and_settles_in_order(self):
        plan = story.plans(first_day=None, now=timezone.now())[2]
        pipeline = story.begin_or_find(plan)
        for _ in range(25):
            story.record_next(plan, pipeline, at=timezone.now())

        now = timezone.now()
        assert not NodeState.objects.filter(completed_at__gt=now).exists()
        assert not TokenOutcome.objects.filter(recorded_at__gt=now).exists()
        for batch in Batch.objects.all():
            joined = TokenOutcome.objects.filter(batch_id=batch.batch_id, outcome="buffered")
            assert not joined.filter(recorded_at__lt=batch.created_at).exists()
        assert Batch.objects.exists()


class TestIsWanted:
    def test_by_an_empty_database_and_one_with_part_of_the_demo(self):
        assert story.is_wanted(now=NOW)

        next(story.record(story.plans(first_day=DAY, now=NOW)[2]))

        assert story.is_wanted(now=NOW)

    def test_not_beside_runs_of_somebody_elses(self):
        make_run()

        assert not story.is_wanted(now=NOW)
