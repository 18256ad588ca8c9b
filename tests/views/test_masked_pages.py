"""Secrets that pipelines recorded: on no page, and untouched where they are stored."""

import pytest
from django.urls import reverse

from audit.models import Run
from tests.builders import (
    make_artifact,
    make_call,
    make_node,
    make_refusal,
    make_row,
    make_run,
    make_state,
    make_token,
    summarise,
)

pytestmark = pytest.mark.django_db

SETTINGS = '{"source": {"url": "postgresql://app:hunter2@db.example/x"}, "api_key": "hunter2"}'
ERROR = '{"message": "401 for https://api.example/v1?api_key=hunter2&row=7"}'


def test_pages_show_masks_and_say_what_they_hide(signed_in):
    run = make_run(settings_json=SETTINGS)
    source = make_node(run, "csv", "source", config_json=SETTINGS)
    work = make_node(run, "tidy", config_json=SETTINGS)
    sink = make_node(run, "output", "sink", config_json=SETTINGS)
    row = make_row(source, 0)
    token = make_token(row)
    failed = make_state(token, work, 1, status="failed", error_json=ERROR)
    call = make_call(failed, status="error", error_json=ERROR)
    wrote = make_state(token, sink, 2)
    artifact = make_artifact(wrote, path_or_uri="sftp://app:hunter2@files.example/out.csv")
    make_refusal(run, error="password=hunter2 was refused")
    summarise(run)
    here = [run.run_id]
    pages = [
        reverse("audit:runs"),
        reverse("audit:run", args=here),
        *(reverse("audit:node", args=[*here, each.node_id]) for each in (source, work, sink)),
        reverse("audit:row", args=[*here, row.row_id]),
        f"{reverse('audit:row', args=[*here, row.row_id])}?part=timeline",
        *(
            f"{reverse('audit:token', args=[*here, token.token_id])}"
            f"?axis={axis}&visit={failed.state_id}"
            for axis in ("step", "time", "table")
        ),
        reverse("audit:lineage_svg", args=[*here, token.token_id]),
        reverse("audit:lineage_json", args=[*here, token.token_id]),
        reverse("audit:visit", args=[*here, failed.state_id]),
        reverse("audit:call", args=[*here, call.call_id]),
        reverse("audit:errors", args=here),
        reverse("audit:artifacts", args=here),
        reverse("audit:artifact", args=[*here, artifact.artifact_id]),
        f"/api/v1/runs/{run.run_id}/",
        f"/api/v1/runs/{run.run_id}/graph/",
        f"/api/v1/runs/{run.run_id}/tokens/{token.token_id}/lineage/",
    ]
    shown = {}
    for page in pages:
        answer = signed_in.get(page)
        assert answer.status_code == 200, page
        shown[page] = b"".join(answer).decode()
        if (revealed := signed_in.post(page)).status_code == 200:
            shown[page] += b"".join(revealed).decode()

    assert [page for page, text in shown.items() if "hunter2" in text] == []
    assert "‹masked: password›" in shown[pages[1]]
    assert "‹masked: key›" in shown[reverse("audit:node", args=[*here, work.node_id])]
    assert "‹masked: password›" in shown[reverse("audit:artifacts", args=here)]
    assert Run.objects.get(pk=run.pk).settings_json == SETTINGS
