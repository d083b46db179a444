"""VAL@FAR and the accuracy, against the published loops written plainly."""

import numpy as np
import pytest

from benchmarks.verification_protocol import published_loops, random_pairs
from bridges import verify_pairs
from bridges.datasets.bin_file import contiguous_folds
from bridges.evaluation.validation_rate import validation_rate


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("target", [1e-2, 0.03])
def test_rates_equal_the_published_loops_to_the_last_digit(seed, target):
    first, second, same = random_pairs(700, 12, seed)
    distances = np.square(first - second).sum(1)
    accuracies, vals, fars = published_loops(distances, same, target)
    found = verify_pairs(first, second, same)
    assert found.fold_accuracies.tolist() == accuracies.tolist()
    assert found.accuracy_mean == accuracies.mean()
    assert found.accuracy_std == accuracies.std()
    rates = validation_rate(distances, same, contiguous_folds(len(same)), target)
    assert rates == (vals.mean(), vals.std(), fars.mean())
    assert 0 < rates.val < 1 and rates.far < 5 * target


def test_a_rate_that_is_met_exactly_takes_the_last_threshold():
    """Four impostors, one of them accepted is a quarter."""
    distances = np.array([0.1, 0.3, 1.0, 2.0, 3.0, 0.2] * 2)
    same = np.array([True, False, False, False, False, True] * 2)
    fold = np.repeat([0, 1], 6)
    found = validation_rate(distances, same, fold, 0.25)
    assert found == (1.0, 0.0, 0.25)
    nobody = validation_rate(distances, same, fold, 1.1)
    assert nobody == (0.0, 0.0, 0.0)
