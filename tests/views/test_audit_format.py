"""How recorded values look."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from audit.templatetags import audit_format as shown


class TestVisible:
    @pytest.mark.parametrize(
        ("recorded", "seen"),
        [
            ("plain", "plain"),
            ("Müller 東京 🚜", "Müller 東京 🚜"),
            ("a\u202eb", "a‹U+202E›b"),
            ("a\u200bb\ufeff", "a‹U+200B›b‹U+FEFF›"),
            ("bell\x07", "bell‹U+0007›"),
            ("line\u2028break", "line‹U+2028›break"),
            ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ],
    )
    def test_writes_out_what_would_hide(self, recorded, seen):
        assert shown.visible(recorded) == seen


class TestBrief:
    def test_keeps_a_name_on_one_line_and_short(self):
        assert shown.brief("a\n b", 10) == "a b"
        assert shown.brief("abcdef", 3) == "abc…"
        assert shown.brief("abc", 3) == "abc"

    def test_says_that_something_is_missing_after_blanks_too(self):
        assert shown.brief("a" + " " * 100 + "b", 3) == "a…"


class TestDuration:
    @pytest.mark.parametrize(
        ("milliseconds", "said"),
        [
            (0, "0 ms"),
            (0.0079, "8 µs"),
            (0.19, "190 µs"),
            (0.9996, "1.0 ms"),
            (7.46, "7.5 ms"),
            (820, "820 ms"),
            (999.6, "1.00 s"),
            (1430, "1.43 s"),
            (59_996, "1 min 00 s"),
            (1_018_000, "16 min 58 s"),
            (4_320_000, "1 h 12 min"),
            (-820, "−820 ms"),
        ],
    )
    def test_says_it_as_people_do(self, milliseconds, said):
        assert shown.duration(milliseconds).replace("\u00a0", " ") == said


class TestMoment:
    def test_shows_milliseconds_and_keeps_microseconds(self):
        instant = datetime(2026, 11, 22, 10, 15, 3, 123_999, tzinfo=UTC)

        assert shown.moment(instant) == (
            '<time datetime="2026-11-22T10:15:03.123999Z">2026-11-22 10:15:03.123Z</time>'
        )

    def test_is_in_utc_whatever_zone_it_comes_in(self):
        instant = datetime(2026, 11, 22, 1, tzinfo=timezone(timedelta(hours=2)))

        assert shown.clock(instant) == "2026-11-21 23:00:00.000Z"


class TestHashes:
    def test_are_cut_at_the_end_and_say_so(self):
        assert shown.short("0123456789abcdef") == "0123456789ab…"
        assert shown.short("0123456789ab") == "0123456789ab"

    def test_tells_siblings_of_one_moment_apart(self):
        # Version 7: the first twelve digits are the time.
        assert shown.short("01a20320a20077a8b5293d0f62531634") == "…3d0f62531634"
        assert shown.short("01a20320a20047a8b5293d0f62531634") == "01a20320a200…"

    def test_name_their_algorithm_only_in_full(self):
        assert shown.algorithm("a" * 64) == "sha256:"
        assert shown.algorithm("a" * 16) == ""

    def test_are_written_in_groups_of_eight(self):
        assert shown.groups("0123456789abcdef") == ["01234567", "89abcdef"]


class TestNumbers:
    @pytest.mark.parametrize(
        ("value", "said"),
        [(0, "0 B"), (999, "999 B"), (417_792, "417.8 kB"), (2e9, "2.0 GB"), (3e12, "3.0 TB")],
    )
    def test_of_bytes(self, value, said):
        assert shown.size(value) == said

    @pytest.mark.parametrize(
        ("part", "whole", "said"),
        [
            (1, 4, "25.0 %"),
            (1, 100_000, "< 0.1 %"),
            (99_999, 100_000, "> 99.9 %"),
            (4, 4, "100.0 %"),
        ],
    )
    def test_of_shares(self, part, whole, said):
        assert shown.share(part, whole) == said


class TestLaidOut:
    def test_changes_nothing_but_the_white_space(self):
        recorded = '{"a":[1,1.50,1e400,{}],"b":{"c":"x,{ } \\" y"},"d":[]}'

        laid_out = shown.laid_out(recorded)

        assert laid_out == (
            '{\n  "a": [\n    1,\n    1.50,\n    1e400,\n    {}\n  ],\n'
            '  "b": {\n    "c": "x,{ } \\" y"\n  },\n  "d": []\n}'
        )

    @pytest.mark.parametrize("text", ["KeyError: [a, b]", '{"cut', "", "[" * 10_000])
    def test_leaves_what_is_not_json_alone(self, text):
        assert shown.laid_out(text) == text
