"""Every test of what is sealed has its own keys and its own sealed text."""

import pytest

from tests.tampering import own_var, tamper  # noqa: F401  # fixtures


@pytest.fixture(autouse=True)
def _var(own_var):  # noqa: F811  # the fixture above
    pass
