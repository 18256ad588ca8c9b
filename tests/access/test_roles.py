"""Who may have what."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission

from audit import access
from audit.access import NotAllowed
from audit.vocabulary import Right, Role

pytestmark = pytest.mark.django_db

USERS = {"add_user", "change_user", "view_user", "view_group"}


class TestRoles:
    @pytest.mark.parametrize("role", Role)
    def test_have_what_their_groups_were_given(self, person, role):
        held = set(Group.objects.get(name=role).permissions.values_list("codename", flat=True))
        somebody = person(role)

        assert held - USERS == set(access.ROLES[role])
        assert bool(held & USERS) == (role == Role.ADMINISTRATOR)
        assert {right for right in Right if access.may(somebody, right)} == held - USERS

    def test_are_needed(self, person):
        gone = person("auditor", name="gone")
        gone.is_active = False

        for somebody in (AnonymousUser(), person(), gone):
            assert not [right for right in Right if access.may(somebody, right)]

    def test_a_superuser_administers_and_neither_reveals_nor_approves(self, person):
        root = person(superuser=True)

        lacking = {right for right in Right if not access.may(root, right)}
        assert lacking == {Right.REVEAL_CONTENTS, Right.APPROVE_RETENTION}
        assert access.may_export(root)
        assert not access.may_export(root, with_payloads=True)

    def test_a_right_may_also_be_given_by_name(self, person):
        somebody = person("viewer")
        somebody.user_permissions.add(Permission.objects.get(codename=Right.SEE_ACCESS_LOG))

        assert access.may(somebody, Right.SEE_ACCESS_LOG)

    def test_are_asked_for_once_for_each_person_object(self, person, count_queries):
        somebody = person("viewer")

        asked = count_queries(lambda: [access.may(somebody, right) for right in Right])
        assert asked == 1

    def test_what_nobody_knows_is_a_mistake(self, person):
        with pytest.raises(ValueError, match="rule_the_world"):
            access.may(person(), "rule_the_world")


class TestRequire:
    def test_says_whose_it_is(self, person):
        with pytest.raises(NotAllowed, match="retention administrator or retention approver"):
            access.require(person("viewer"), Right.SEE_RECORDS, Right.PLACE_HOLDS)

    def test_gives_the_number_of_who_may(self, person):
        somebody = person("viewer")

        assert access.require(somebody, Right.SEE_RECORDS) == somebody.pk


class TestTheDoor:
    def test_tells_somebody_without_a_role_which_one_is_missing(self, client_of):
        stranger = client_of()

        for address in ("/", "/runs/", "/runs/nowhere/"):
            answer = stranger.get(address)
            assert answer.status_code == 403
            assert "This is for members of the group viewer, auditor" in answer.text
            assert "signed in as nobody" in answer.text
        told = stranger.get("/api/v1/runs/nowhere/")
        assert told.status_code == 403
        assert "viewer" in told.json()["error"]["message"]

    def test_obeys_at_the_next_click(self, person, client):
        somebody = person("viewer")
        client.force_login(somebody)
        assert client.get("/runs/").status_code == 200

        somebody.groups.clear()

        assert client.get("/runs/").status_code == 403
