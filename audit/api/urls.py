"""Every address of the API, below `/api/v1/`."""

from __future__ import annotations

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from audit.api.asking import NothingHere
from audit.api.exports import CancelExport, Export, ExportFile, RunExports
from audit.api.figures import Journeys, LedgerOfRun
from audit.api.graph import Graph
from audit.api.lineage import RowLineage, TokenLineage
from audit.api.proofs import RecordProof
from audit.api.runs import Rows, Run, Runs

app_name = "api"

urlpatterns = [
    path("runs/", Runs.as_view(), name="runs"),
    path("runs/<key:run_id>/", Run.as_view(), name="run"),
    path("runs/<key:run_id>/exports/", RunExports.as_view(), name="run-exports"),
    path("exports/<key:export_id>/", Export.as_view(), name="export"),
    path("exports/<key:export_id>/cancel/", CancelExport.as_view(), name="cancel-export"),
    path("exports/<key:export_id>/download/", ExportFile.as_view(), name="download-export"),
    path(
        "runs/<key:run_id>/records/<key:record_type>/<key:key>/",
        RecordProof.as_view(),
        name="record-proof",
    ),
    path("runs/<key:run_id>/graph/", Graph.as_view(), name="graph"),
    path("runs/<key:run_id>/journeys/", Journeys.as_view(), name="journeys"),
    path("runs/<key:run_id>/ledger/", LedgerOfRun.as_view(), name="ledger"),
    path("runs/<key:run_id>/rows/", Rows.as_view(), name="rows"),
    path("runs/<key:run_id>/rows/<key:row_id>/lineage/", RowLineage.as_view(), name="row-lineage"),
    path(
        "runs/<key:run_id>/tokens/<key:token_id>/lineage/",
        TokenLineage.as_view(),
        name="token-lineage",
    ),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    # The page in two parts: its script is a file of its own, as the content policy demands.
    path("docs/", SpectacularSwaggerSplitView.as_view(url_name="audit:api:schema"), name="docs"),
    re_path("", NothingHere.as_view()),
]
