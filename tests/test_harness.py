"""The tests' own ground: which login they use, and what is left after one."""

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from audit.errors import DatabaseForbids


def current(what: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {what}")
        return cursor.fetchone()[0]


@pytest.mark.django_db
class TestDatabase:
    def test_is_used_with_the_applications_login(self):
        assert current("current_user") == "landscape_app"

    def test_is_a_database_of_this_process(self):
        assert current("current_database()").startswith("test_landscape_")

    def test_lets_the_application_create_nothing(self):
        with pytest.raises(DatabaseForbids, match="permission denied"):
            current("1; CREATE TABLE mine (id int)")


@pytest.mark.django_db(transaction=True)
class TestTransactionalTests:
    """Twice the same, so that either order finds what the other one left."""

    @pytest.mark.parametrize("_time", [1, 2])
    def test_leave_no_rows_behind(self, _time):
        assert get_user_model().objects.count() == 0

        get_user_model().objects.create_user("somebody")

    @pytest.mark.parametrize("_time", [1, 2])
    def test_leave_every_guard_in_force(self, _time):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'A'"
            )
            assert cursor.fetchall() == []


@pytest.mark.django_db
class TestReadOnly:
    def test_lets_questions_pass(self, read_only):
        with read_only():
            assert get_user_model().objects.count() == 0

    def test_catches_a_write(self, read_only):
        with pytest.raises(AssertionError, match="INSERT"), read_only():
            get_user_model().objects.create(username="somebody")

    def test_catches_a_write_hidden_in_a_question(self, read_only):
        hidden = "WITH gone AS (DELETE FROM auth_user RETURNING 1) SELECT count(*) FROM gone"

        with pytest.raises(AssertionError, match="DELETE"), read_only(), connection.cursor() as cur:
            cur.execute(hidden)


@pytest.mark.django_db
class TestCountQueries:
    def test_counts_every_statement(self, count_queries):
        assert count_queries(lambda: [get_user_model().objects.count() for _ in range(3)]) == 3


class TestRounds:
    def test_is_a_quarter_of_the_full_count(self, rounds, monkeypatch):
        monkeypatch.delenv("LANDSCAPE_FAULTS", raising=False)

        assert [rounds(full) for full in (1, 4, 20)] == [1, 1, 5]
