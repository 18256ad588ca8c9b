"""What records say is told here, as to somebody to whom it was revealed."""

import pytest

from audit import lineage


@pytest.fixture(autouse=True)
def _revealed():
    with lineage.revealed():
        yield
