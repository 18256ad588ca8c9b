"""Canonical JSON against the vectors that the original program gave, and its refusals."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest

from audit import canonical
from audit.canonical import NATIVE, ORIGINAL, canonical_json, repr_hash, stable_hash
from audit.errors import ValueRefused

NAIVE = datetime(2026, 1, 27, 12)  # noqa: DTZ001  # that is the case
INDIA = timezone(timedelta(hours=5, minutes=30))

# (value, canonical form, SHA-256): the same under both versions.
SHARED = [
    ({}, "{}", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
    ([], "[]", "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"),
    (
        {"id": 1},
        '{"id":1}',
        "037c9214eef74cc3887f3a4f085b4e17d76280dafd273b0ee160c09c4ba1cfd4",
    ),
    (
        {"b": 1, "a": [True, None, "é"]},
        '{"a":[true,null,"é"],"b":1}',
        "17c8c6f7f948ee1c9b93b1bc35f6edc29cbaf3022bff7d076d1c4831dd8a44a2",
    ),
    (
        {"x": 1.0, "y": 1e21, "z": -0.0, "w": 0.1},
        '{"w":0.1,"x":1,"y":1e+21,"z":0}',
        "d8696826418391ced24f229ef4f6c8446980067d9f8064cfb9991cf64b4b51e0",
    ),
    (
        {"€": 1, "😀": 2, "z": 3, "é": 4},
        '{"z":3,"é":4,"€":1,"😀":2}',
        "54c730abefb07ad26caf68af618e191eafe8b9557759bd0c87be9f7dc0bcd60c",
    ),
    (
        {"v": 1e-7},
        '{"v":1e-7}',
        "3a28f15de586a90e5f896f27e39cd7d7e4022dcccc3a795c373d64a52661987f",
    ),
    (
        {"v": 1.5e300},
        '{"v":1.5e+300}',
        "95b30b777c58534c5ff679cb424137fc8ff41cf386fee857182a0b2a684e62b3",
    ),
    (
        {"v": 9007199254740991},
        '{"v":9007199254740991}',
        "210e9afd5b97d46616c53c7bc51eb7349d44183691bb0866ae2ef6a2b798823f",
    ),
    (
        datetime(2026, 1, 27, 12, 0, 0, 500_000, tzinfo=INDIA),
        '"2026-01-27T06:30:00.500000+00:00"',
        "3515e0239b22c1e94d8bc6084dc699457c8d0eb94d5d227f98ba5152787b0673",
    ),
    (
        {"m": Decimal("42.50")},
        '{"m":"42.50"}',
        "7f0f0d1d47763c5a152104e60b2a350929a136a3d1aa02dd1979f88d5a90339c",
    ),
    (42, "42", "73475cb40a568e8da8a045ced110137e159f890ac4da883b6b17dc651b3a8049"),
    (None, "null", "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"),
    ("str", '"str"', "72495b0e1f3c6c961f46d3f249ce968ac758c43b88e50d32aa138681f8a38804"),
    (
        {"batch_rows": [{"id": 1}, {"id": 2}]},
        '{"batch_rows":[{"id":1},{"id":2}]}',
        "fc799d9ea25bacc5f8cd96ad75257dfe341041ed27d54bde554071158e58f520",
    ),
    (
        {"row": {"id": 1}, "artifact_path": "file://out.csv", "content_hash": "00"},
        '{"artifact_path":"file://out.csv","content_hash":"00","row":{"id":1}}',
        "631672fa52e32b7b31904c417a2c1ada53ea8ffbca8d72a20618d947b0fa5d2f",
    ),
    (
        {"merged_into": "tok"},
        '{"merged_into":"tok"}',
        "16740e5bbda0bef35a1c2654894adaddefc72d7d6d3ce23933774325fed14711",
    ),
    (
        {"id": 1, "name": "Alice", "amount": 500, "category": "retail"},
        '{"amount":500,"category":"retail","id":1,"name":"Alice"}',
        "51dd74a9af031f5d79536dbc3862c74c375551dc06c9950a44bd5b9a782a0698",
    ),
]


@pytest.mark.parametrize("version", [ORIGINAL, NATIVE])
class TestBothVersions:
    @pytest.mark.parametrize(("value", "form", "digest"), SHARED)
    def test_hold_the_vector(self, version, value, form, digest):
        assert canonical_json(value, version=version) == form
        assert stable_hash(value, version=version) == digest

    @pytest.mark.parametrize(
        ("value", "path"),
        [
            (float("nan"), "$"),
            ({"a": [1, float("inf")]}, "$.a[1]"),
            ({"a": {"b c": -float("inf")}}, "$.a['b c']"),
            ([Decimal("NaN")], "$[0]"),
            ({"d": Decimal("Infinity")}, "$.d"),
            ({"big": 2**53}, "$.big"),
            ({"big": -(2**53)}, "$.big"),
            ({"x": {1: 2}}, "$.x"),
            ({"x": {1, 2}}, "$.x"),
            ({"x": "\ud800"}, "$.x"),
            ({"\udfff": 1}, "$"),
            ({"x": [object()]}, "$.x[0]"),
            ({"x": timedelta(1)}, "$.x"),
        ],
    )
    def test_refuse_and_say_where(self, version, value, path):
        with pytest.raises(ValueRefused) as refused:
            canonical_json(value, version=version)

        assert refused.value.path == path
        assert isinstance(refused.value, ValueError)

    def test_refuse_what_contains_itself(self, version):
        endless = []
        endless.append(endless)

        with pytest.raises(ValueRefused, match="deeper than 200"):
            canonical_json(endless, version=version)

    def test_write_an_enums_value_and_not_its_name(self, version):
        word = Enum("Word", {"A": "a"}, type=str)

        assert canonical_json({"w": word.A}, version=version) == '{"w":"a"}'

    def test_take_numbers_and_arrays_of_numpy(self, version):
        array = type("ndarray", (), {"__module__": "numpy", "tolist": lambda _: [1, 2.5]})

        assert canonical_json([array()], version=version) == "[[1,2.5]]"

    def test_refuse_a_hole_in_an_array_of_numpy(self, version):
        array = type("ndarray", (), {"__module__": "numpy", "tolist": lambda _: [1, float("nan")]})

        with pytest.raises(ValueRefused, match=r"^\$\.a\[1\]: nan"):
            canonical_json({"a": array()}, version=version)

    def test_read_a_gap_of_pandas_as_null(self, version):
        gap = type("NaTType", (datetime,), {"__module__": "pandas._libs.tslibs.nattype"})

        assert canonical_json([gap(2026, 1, 1)], version=version) == "[null]"


class TestOriginal:
    def test_reads_a_moment_without_zone_as_utc(self):
        assert (
            stable_hash(NAIVE, version=ORIGINAL)
            == "6d830fa93289d2d5cb9c53945eaa546fa09b6d9a6eb757e062b74defc9113092"
        )

    def test_wraps_bytes_in_a_dictionary(self):
        assert (
            stable_hash({"b": b"abc"}, version=ORIGINAL)
            == "aada88e0d36a1761f50e154527b1b8e5406c4efeaa9febd7aa00feb4e928c21e"
        )

    @pytest.mark.parametrize("value", [date(2026, 1, 1), time(12), UUID(int=1)])
    def test_refuses_what_it_had_no_form_for(self, value):
        with pytest.raises(ValueRefused, match="no canonical form"):
            canonical_json(value, version=ORIGINAL)


class TestNative:
    def test_marks_bytes_as_such(self):
        assert (
            stable_hash({"b": b"abc"})
            == "e7e10c29c602328984f88c8736416520f7f2ab8dae3953eefedf2dc361fcb4bd"
        )

    def test_keeps_a_dictionary_from_passing_for_bytes(self):
        forged = {"base64": "YWJj", "__elspeth_canonical_type__": "bytes"}

        assert canonical_json(forged) == (
            '{"__elspeth_canonical_type__":"mapping","entries":['
            '{"key":"__elspeth_canonical_type__","value":"bytes"},'
            '{"key":"base64","value":"YWJj"}]}'
        )

    def test_refuses_a_moment_without_zone(self):
        with pytest.raises(ValueRefused, match=r"\$\.at: the moment has no time zone"):
            canonical_json({"at": NAIVE})

    def test_refuses_a_set_with_advice(self):
        with pytest.raises(ValueRefused, match="sorted list"):
            canonical_json({"x": {"a"}})

    def test_writes_dates_times_and_uuids_as_text(self):
        value = [date(2026, 1, 27), time(12, 30), UUID(int=1), datetime(2026, 1, 27, tzinfo=UTC)]

        assert canonical_json(value) == (
            '["2026-01-27","12:30:00","00000000-0000-0000-0000-000000000001",'
            '"2026-01-27T00:00:00+00:00"]'
        )


class TestVersions:
    def test_unknown_ones_are_refused(self):
        with pytest.raises(ValueError, match="sha256-rfc8785-v9"):
            stable_hash({}, version="sha256-rfc8785-v9")

    def test_tell_whether_a_hash_can_be_recomputed(self):
        assert [canonical.is_known(name) for name in (ORIGINAL, NATIVE, "md5")] == [
            True,
            True,
            False,
        ]


class TestReprHash:
    def test_holds_the_vector(self):
        assert (
            repr_hash({"value": float("nan")})
            == "49ce040dd7d562085e95b0eaa8e86fd90eaa6d3438be5d3462a8078bc5a32a82"
        )

    def test_takes_text_that_is_no_text(self):
        assert len(repr_hash(["\ud800"])) == 64
