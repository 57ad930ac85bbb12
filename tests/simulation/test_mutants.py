"""A simulator that finds nothing may be blind: each rule that is taken out must be missed within some hundred seeds."""

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.world import simulate

SEEDS = 400


@pytest.mark.full
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_simulator_misses_each_rule(mutant):
    with mutant():
        assert any(simulate(seed).violations for seed in range(SEEDS)), mutant.__doc__
