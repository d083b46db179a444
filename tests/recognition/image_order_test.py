"""Weighted data sets: how often each image comes."""

import numpy as np
import pytest

from bridges.recognition.image_order import ImageOrder
from hyperface_jax import InputError


def epochs(order, number):
    """The positions of so many epochs, read in batches that fit none of them."""
    size = order.epoch_size
    seen = [order.batch(step, 7) for step in range(-(-number * size // 7))]
    return np.concatenate(seen)[: number * size].reshape(number, size)


def test_an_epoch_shows_each_image_as_often_as_its_weight_says():
    order = ImageOrder([10, 4, 6], seed=0, weights=(1.0, 3.0, 0.5))
    assert order.epoch_size == 10 + 12 + 3
    halves = set()
    for epoch in epochs(order, 40):
        times = np.bincount(epoch, minlength=20)
        assert (times[:10] == 1).all() and (times[10:14] == 3).all()
        assert times[14:].sum() == 3 and times[14:].max() == 1
        halves.add(tuple(times[14:]))
    assert len(halves) > 5, "another half each epoch"


def test_weights_of_one_are_no_weights():
    plain, weighed = ImageOrder([5, 8], 3), ImageOrder([5, 8], 3, (1.0, 1.0))
    np.testing.assert_array_equal(epochs(plain, 3), epochs(weighed, 3))


def test_any_step_can_be_asked_for_alone():
    order, other = (ImageOrder([9, 9], 1, (2.0, 1.0)) for _ in range(2))
    forwards = [order.batch(step, 8) for step in range(12)]
    for step in reversed(range(12)):
        np.testing.assert_array_equal(other.batch(step, 8), forwards[step])


def test_as_many_weights_as_data_sets():
    with pytest.raises(InputError, match=r"are 3, expected one for each of the 2"):
        ImageOrder([5, 5], 0, (1.0, 2.0, 3.0))
