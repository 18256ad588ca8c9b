"""Lines between cells: fixed arithmetic."""

from audit.drawing import placing, routing


class TestGrid:
    def test_stands_columns_side_by_side(self):
        on = placing.grid(widths=[80, 120], rows=3)

        assert on.starts == (placing.LABEL, placing.LABEL + 80)
        assert on.ending == placing.LABEL + 200
        assert (on.left(1), on.right(1)) == (placing.LABEL + 80, placing.LABEL + 190)
        assert on.height == placing.HEAD + 90

    def test_keeps_what_is_on_another_page_at_its_edge(self):
        on = placing.grid(widths=[80], rows=1)

        assert on.left(-3) == on.right(-3) == placing.LABEL
        assert on.left(7) == on.right(7) == on.ending

    def test_gives_a_column_the_width_of_its_words(self):
        assert placing.width_for(3) == placing.NARROWEST
        assert placing.width_for(12) % 8 == 0
        assert placing.width_for(12) >= 12 * 8
        assert placing.width_for(500) == placing.WIDEST


class TestRouting:
    def test_bends_in_the_gap_before_the_target(self):
        assert routing.elbow(start=(100, 20), end=(200, 50)) == "M100 20H195V50H200"

    def test_goes_around_where_the_target_stands_further_left(self):
        assert routing.elbow(start=(200, 20), end=(100, 80)) == "M200 20h5V35H95V80H100"

    def test_runs_along_a_row_and_back_under_it(self):
        assert routing.along(left=10, right=20, y=5) == "M10 5H20"
        assert routing.along(left=50, right=20, y=5) == "M50 5h5V20H15V5H20"
