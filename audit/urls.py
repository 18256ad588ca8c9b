"""Every address of the application."""

from __future__ import annotations

from django.urls import include, path, register_converter

from audit.views import (
    access_log,
    api_tokens,
    artifacts,
    batches,
    checkpoints,
    errors,
    exports,
    graphs,
    health,
    home,
    journeys,
    ledger,
    nodes,
    person,
    proofs,
    public_keys,
    retention,
    rows,
    runs,
    tokens,
    verifying,
    visits,
)
from audit.views.keys import KeyConverter

app_name = "audit"

register_converter(KeyConverter, "key")

urlpatterns = [
    path("", home.home, name="home"),
    path("accounts/", person.account, name="account"),
    path("accounts/sessions/<int:session_id>/end/", person.end_session, name="end-session"),
    path("accounts/sessions/end-others/", person.end_other_sessions, name="end-other-sessions"),
    path("accounts/tokens/", api_tokens.tokens, name="api-tokens"),
    path("accounts/tokens/make/", api_tokens.make, name="make-api-token"),
    path("accounts/tokens/<int:number>/revoke/", api_tokens.revoke, name="revoke-api-token"),
    path("runs/", runs.runs, name="runs"),
    path("runs/<key:run_id>/", runs.run, name="run"),
    path("runs/<key:run_id>/dag.svg", graphs.dag, name="dag"),
    path("runs/<key:run_id>/nodes/<key:node_id>/", nodes.node, name="node"),
    path("runs/<key:run_id>/ledger/", ledger.ledger, name="ledger"),
    path("runs/<key:run_id>/journeys/", journeys.journeys, name="journeys"),
    path("runs/<key:run_id>/rows/", rows.rows, name="rows"),
    path("runs/<key:run_id>/rows/<key:row_id>/", rows.row, name="row"),
    path("runs/<key:run_id>/tokens/<key:token_id>/", tokens.token, name="token"),
    path(
        "runs/<key:run_id>/tokens/<key:token_id>/lineage.svg",
        tokens.lineage_svg,
        name="lineage_svg",
    ),
    path(
        "runs/<key:run_id>/tokens/<key:token_id>/lineage.json",
        tokens.lineage_json,
        name="lineage_json",
    ),
    path("runs/<key:run_id>/states/<key:state_id>/", visits.visit, name="visit"),
    path("runs/<key:run_id>/calls/<key:call_id>/", visits.call, name="call"),
    path("runs/<key:run_id>/errors/", errors.errors, name="errors"),
    path("runs/<key:run_id>/batches/", batches.batches, name="batches"),
    path("runs/<key:run_id>/batches/<key:batch_id>/", batches.batch, name="batch"),
    path("runs/<key:run_id>/checkpoints/", checkpoints.checkpoints, name="checkpoints"),
    path("runs/<key:run_id>/artifacts/", artifacts.artifacts, name="artifacts"),
    path("runs/<key:run_id>/artifacts/<key:artifact_id>/", artifacts.artifact, name="artifact"),
    path("runs/<key:run_id>/check/", proofs.compare, name="compare-with-seal"),
    path("runs/<key:run_id>/exports/", exports.request_export, name="request-export"),
    path(
        "runs/<key:run_id>/records/<key:record_type>/<key:key>/",
        proofs.record,
        name="record",
    ),
    path(
        "runs/<key:run_id>/records/<key:record_type>/<key:key>/proof.zip",
        proofs.download,
        name="record-proof",
    ),
    path("exports/", exports.exports_page, name="exports"),
    path("exports/<key:export_id>/", exports.export, name="export"),
    path("exports/<key:export_id>/cancel/", exports.cancel, name="cancel-export"),
    path("exports/<key:export_id>/again/", exports.again, name="export-again"),
    path("exports/<key:export_id>/download/", exports.download, name="download-export"),
    path("verify/", verifying.verify_page, name="verify"),
    path("verify/landscape-verify.html", verifying.verify_file, name="verify-file"),
    path("retention/", retention.overview, name="retention"),
    path("retention/policies/", retention.policies, name="retention-policies"),
    path("retention/plans/<int:plan_id>/", retention.plan, name="plan"),
    path("retention/plans/<int:plan_id>/list.txt", retention.plan_list, name="plan-list"),
    path("retention/plans/<int:plan_id>/certificate/", retention.certificate, name="certificate"),
    path(
        "retention/plans/<int:plan_id>/certificate.json",
        retention.certificate_file,
        name="certificate-file",
    ),
    path("access/", access_log.access_log, name="access-log"),
    path("access/log.csv", access_log.access_csv, name="access-csv"),
    path("keys/", public_keys.public_keys, name="public-keys"),
    path(
        ".well-known/landscape-export/<str:name>",
        public_keys.well_known,
        name="well-known",
    ),
    path("api/v1/", include("audit.api.urls")),
    path("health/live", health.live, name="live"),
    path("health/ready", health.ready, name="ready"),
]
