"""Small questions without a table of their own: names, headlines, the house."""

import pytest

from audit import lineage
from audit.lineage.excerpts import headline
from audit.lineage.nodes import node_name
from audit.models import SCHEMA_VERSION, SchemaInfo


class TestNodeName:
    @pytest.mark.parametrize(
        ("node_id", "name"),
        [
            ("source_csv_4e74096ddcae", "csv"),
            ("config_gate_amount_threshold_63328d7ff1ba", "amount_threshold"),
            ("transform_flaky_demo_43e2bbfa24a1_0", "flaky_demo"),
            ("coalesce_merge_results_5d912e9e80a9", "merge_results"),
            ("sink_output_ba645a34d768", "output"),
            ("out", "out"),
            ("transform_llm", "transform_llm"),
            ("", ""),
        ],
    )
    def test_is_the_part_that_a_person_gave(self, node_id, name):
        assert node_name(node_id) == name


class TestHeadline:
    @pytest.mark.parametrize(
        ("recorded", "line"),
        [
            ('{"reason":"blocked_content","field":"notes"}', "blocked_content"),
            ('{"exception":"bad","type":"ValueError"}', "ValueError: bad"),
            ('{"exception":"ValueError(1)","type":"ValueError"}', "ValueError(1)"),
            ('{"type":"Timeout","message":"after 2 s"}', "Timeout: after 2 s"),
            ("plain\n  words", "plain words"),
            ('{"code": 7}', '{"code": 7}'),
            ("[1]", "[1]"),
            ('{"reason": 7, "type": null}', '{"reason": 7, "type": null}'),
            ("", ""),
        ],
    )
    def test_says_what_went_wrong(self, recorded, line):
        assert headline(recorded) == line

    def test_survives_what_no_parser_should_be_given(self):
        assert headline("[" * 100_000).startswith("[[[")


@pytest.mark.django_db
class TestDescribeHouse:
    def test_tells_the_two_logins_and_what_is_guarded(self):
        house = lineage.describe_house()

        assert (house.login, house.owner) == ("landscape_app", "landscape_owner")
        assert house.guarded_tables == house.audit_tables
        assert house.is_guarded


@pytest.mark.django_db
class TestSchemaFits:
    def test_is_true_of_a_migrated_database(self):
        assert lineage.schema_fits()

    def test_is_false_of_another_version(self, monkeypatch):
        monkeypatch.setattr("audit.lineage.house.SCHEMA_VERSION", SCHEMA_VERSION + 1)

        assert SchemaInfo.objects.exists()
        assert not lineage.schema_fits()
