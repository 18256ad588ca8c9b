"""docs/recorder.md against the code: its tables are complete. Its example: test_connecting."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from audit import errors, recorder
from audit.recorder import contents, reading, tokens, writing

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "recorder.md").read_text()
CHECKLIST = (ROOT / "docs" / "checklist.md").read_text()
# What a program that records runs through.
RECORDING = [
    *(ROOT / "audit" / "recorder").glob("*.py"),
    *(ROOT / "audit" / "postgresql").glob("*.py"),
    *(ROOT / "audit" / name for name in ("blobs.py", "canonical.py", "payloads.py")),
]

# Every method that the original has for writing and reading the trail, and those that it lacked.
METHODS = """
begin_run complete_run finalize_run update_run_status get_run list_runs set_export_status
get_source_schema compute_reproducibility_grade register_node register_edge get_node get_nodes
get_edges get_edge_map get_dag create_row create_rows create_token fork_token coalesce_tokens
expand_token get_rows get_tokens get_row get_token get_row_data get_token_parents get_ancestors
get_child_tokens get_descendants get_siblings create_rows_batch begin_node_state
complete_node_state node_state get_node_state get_node_states_for_token record_routing_event
record_routing_events get_routing_events allocate_call_index record_call get_calls
find_call_by_request_hash get_call_response_data create_batch add_batch_member
update_batch_status complete_batch get_batch get_batches get_incomplete_batches
get_batch_members get_batches_for_token retry_batch register_artifact get_artifacts
record_token_outcome get_token_outcome get_token_outcomes_for_row record_validation_error
record_transform_error get_validation_errors_for_row get_validation_errors_for_run
get_transform_errors_for_token get_transform_errors_for_run explain_row create_checkpoint
get_latest_checkpoint get_checkpoints get_checkpoints_for_run get_checkpoint release_checkpoints
delete_checkpoints validate_checkpoint transaction verify_run get_states_for_tokens
get_events_for_states get_calls_for_states can_resume get_resume_point get_unprocessed_rows
plan_resume
""".split()  # noqa: SIM905  # read as a list of words


class TestTables:
    def test_name_every_error(self):
        named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
        code = "\n".join(path.read_text() for path in RECORDING)
        ours = {
            name
            for name, thing in vars(errors).items()
            if isinstance(thing, type)
            and issubclass(thing, errors.AuditError)
            and re.search(rf"\b{name}\b", code)
        }

        assert len(ours) > len(named) / 2
        assert ours - {"AuditError"} <= named

    @pytest.mark.parametrize(
        "limit",
        [
            writing.MAX_ID,
            writing.MAX_NAME,
            writing.MAX_URI,
            writing.MAX_REASON,
            writing.MAX_ERROR,
            writing.MAX_JSON,
            contents.MAX_PAYLOAD,
            tokens.MAX_CHILDREN,
            reading.MAX_PAGE,
        ],
    )
    def test_name_every_limit(self, limit):
        assert f"{limit:,}" in PAGE

    def test_name_functions_that_exist(self):
        promised = re.findall(r"\| `([a-z_]+)(?:`|\()", PAGE.split("Methods of the original")[1])
        here = [name for name in promised if name in recorder.__all__]

        assert {"complete_run", "resume_run", "record_call", "release_checkpoints"} <= set(here)

    def test_have_a_place_for_every_method_of_the_original(self):
        told = set(re.findall(r"`(\w+)[`(]", PAGE.split("Methods of the original")[1]))
        bound = {"run", "transaction", "node_state"}

        assert [name for name in METHODS if name not in {*recorder.__all__, *bound, *told}] == []


class TestChecklist:
    ROWS = re.findall(r"^\| ([FN]\d.*?) \| .* \| (.*) \|$", CHECKLIST, re.MULTILINE)

    def test_names_tests_that_exist(self):
        for path, inside in re.findall(
            r"`((?:tests|benchmarks)/[\w/]+\.py)((?:::\w+)*)`", CHECKLIST
        ):
            places = [ast.parse((ROOT / path).read_text())]
            for name in inside.split("::")[1:]:
                places = [
                    node
                    for place in places
                    for node in place.body
                    if getattr(node, "name", None) == name
                ]
                assert places, (path, inside)

    def test_names_each_finding_once_and_what_shows_it(self):
        named = [number for numbers, _shown in self.ROWS for number in findings(numbers)]

        assert sorted(named) == sorted(
            [f"F{number}" for number in range(1, 74)] + [f"N{number}" for number in range(1, 21)]
        )

    def test_leaves_nothing_of_the_recorder_for_later(self):
        ours = {*findings("F1, F9, F11–F24, F40–F55, N1–N20")}
        # What the recorder does not do, in spite of where the findings stand.
        elsewhere = {"F40"}
        later = {
            number
            for numbers, shown in self.ROWS
            if shown.startswith("later")
            for number in findings(numbers)
        }

        assert ours & later == elsewhere

    def test_shows_something_for_every_finding(self):
        for numbers, shown in self.ROWS:
            assert re.search(
                r"`(tests|benchmarks)/|later: issue \d|by construction|no finding|rows F", shown
            ), numbers


def findings(numbers):
    """The numbers of a row: `F1, F11–F13` is F1, F11, F12, F13."""
    for part in numbers.split(", "):
        first, _dash, last = part.partition("–")
        for number in range(int(first[1:]), int((last or first)[1:]) + 1):
            yield f"{first[0]}{number}"
