"""A hundred moments of kill -9, spread over all that a run writes."""

import pytest
from test_kills import killed_and_run_again, undisturbed  # noqa: F401 - a fixture

pytestmark = pytest.mark.proof


@pytest.mark.parametrize("trial", range(100))
def test_a_hundred_kills_change_no_byte(undisturbed, tmp_path, trial):  # noqa: F811
    """Parent or worker, killed at a hundredth of its files each: nothing lost, nothing doubled."""
    killed_and_run_again(undisturbed, tmp_path / "out", trial, 100)
