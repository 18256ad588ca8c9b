"""What an administrator types at night: `manage.py purge_payloads`."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.retention.worlds import make_policy, make_two, record_run


def told(*arguments):
    out = StringIO()
    call_command("purge_payloads", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
class TestPurgePayloads:
    def test_lists_shows_and_refuses_what_nobody_approved(self):
        planner, _approver = make_two()
        name = planner.get_username()
        record_run("old", rows=2)
        make_policy(planner)

        plan = json.loads(told("preview", "--by", name, "--json"))

        # By the clock nothing is due yet: both stay, and the plan says why.
        assert (plan["status"], plan["payloads"]) == ("proposed", 0)
        assert plan["kept"]
        assert f"digest: {plan['digest']}" in told("show", str(plan["plan"]))
        with pytest.raises(CommandError):
            told("execute", str(plan["plan"]), "--by", name)
        assert json.loads(told("show", str(plan["plan"]), "--json"))["status"] == "proposed"

    def test_names_who_may_not_and_what_is_not_there(self):
        with pytest.raises(CommandError, match="nobody is no member of the group retention admin"):
            told("preview", "--by", "nobody")
        with pytest.raises(CommandError, match="there is no plan 7"):
            told("show", "7")
