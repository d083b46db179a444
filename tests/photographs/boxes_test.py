"""Overlapping boxes, against brute force."""

import numpy as np
import pytest

from bridges.photographs.boxes import suppress_overlapping


def overlap(a, b, of_smaller):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    shared = width * height
    return shared / (min(areas) if of_smaller else sum(areas) - shared)


@pytest.mark.parametrize("of_smaller", [False, True])
def test_suppression_equals_brute_force(of_smaller):
    random = np.random.default_rng(0)
    corner = random.integers(0, 30, (80, 2))
    boxes = np.hstack([corner, corner + random.integers(5, 20, (80, 2))]).astype(float)
    scores = random.permutation(80) / 80
    expected = []
    for i in np.argsort(-scores):
        if all(overlap(boxes[i], boxes[k], of_smaller) <= 0.4 for k in expected):
            expected.append(i)
    found = suppress_overlapping(boxes, scores, 0.4, of_smaller=of_smaller)
    assert found.tolist() == expected and 1 < len(expected) < 80
