"""The protocol of verification: thresholds in a loop, as published, or all at once.

    python -m benchmarks.verification_protocol --output=record.json

6,000 pairs in ten folds, as LFW has them, of random unit vectors of 512 numbers. The
loop is insightface's, written from its description: for each fold and each of 400
thresholds the accuracy on the other folds, for each of 4,000 the rate of false accepts.
Both sides begin from the pairs' distances and give the same figures, which is checked.
The whole of ``verify_pairs``, with the distances and the other figures, is timed too.
"""

import statistics
import time

import numpy as np
from absl import flags

from bridges import verify_pairs
from bridges.datasets.bin_file import contiguous_folds
from bridges.evaluation.validation_rate import validation_rate
from bridges.evaluation.verification_metrics import cross_validate
from hyperface_jax import files
from hyperface_jax.commands import provenance, run_command, settings_of

FLAGS = flags.FlagValues()

flags.DEFINE_integer("num_pairs", 6000, "pairs", 100, flag_values=FLAGS)
flags.DEFINE_integer("repeats", 5, "timed calls of each", 1, flag_values=FLAGS)
flags.DEFINE_string("output", None, "where the JSON record goes", flag_values=FLAGS)


def published_loops(
    distances: np.ndarray,
    same: np.ndarray,
    far_target: float,
    num_folds: int = 10,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """insightface's evaluation, threshold by threshold.

    Contiguous folds; the best threshold of 0, 0.01, …, 3.99 on the others, the first of
    equals; VAL at the threshold that the line between two points of 0, 0.001, …, 3.999
    gives for the rate of false accepts.

    Args:
      distances: ``[p]`` squared distances.
      same: ``[p]`` bool.
      far_target: the rate of false accepts.
      num_folds: number of folds.

    Returns:
      Accuracy, VAL and FAR of each fold.
    """
    parts = [len(part) for part in np.array_split(same, num_folds)]
    bounds = np.cumsum([0, *parts])
    accuracies, vals, fars = [], [], []
    for k in range(num_folds):
        held = np.zeros(len(same), bool)
        held[bounds[k] : bounds[k + 1]] = True
        best, threshold = -1.0, 0.0
        for t in np.arange(0, 4, 0.01):
            accuracy = np.mean((distances[~held] < t) == same[~held])
            if accuracy > best:
                best, threshold = accuracy, t
        accuracies.append(np.mean((distances[held] < threshold) == same[held]))
        grid = np.arange(0, 4, 0.001)
        impostors = distances[~held & ~same]
        rates = [np.mean(impostors < t) for t in grid]
        threshold = 0.0
        if max(rates) >= far_target:
            high = next(i for i, rate in enumerate(rates) if rate > far_target)
            low = high - 1
            step = (far_target - rates[low]) / (rates[high] - rates[low])
            threshold = grid[low] + step * (grid[high] - grid[low])
        vals.append(np.mean(distances[held & same] < threshold))
        fars.append(np.mean(distances[held & ~same] < threshold))
    return np.array(accuracies), np.array(vals), np.array(fars)


def random_pairs(
    num_pairs: int, dimensions: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of unit vectors, half of them alike, and which."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((3, num_pairs, dimensions))
    same = random.permutation(num_pairs) % 2 == 0
    second = np.where(same[:, None], rows[0] + 0.9 * rows[1], rows[2])
    first, second = (
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rows[0], second)
    )
    return first, second, same


def main() -> None:
    """Times both, in turn, and prints the ratio of their medians."""
    first, second, same = random_pairs(FLAGS.num_pairs, 512)
    distances = np.square(first - second).sum(1)
    fold = contiguous_folds(len(same))
    seconds: dict[str, list[float]] = {"loops": [], "protocol": [], "verify_pairs": []}
    for _ in range(FLAGS.repeats):
        start = time.perf_counter()
        accuracies, vals, _ = published_loops(distances, same, 1e-3)
        seconds["loops"].append(time.perf_counter() - start)
        start = time.perf_counter()
        _, found, _ = cross_validate(distances, same, fold)
        rates = validation_rate(distances, same, fold)
        seconds["protocol"].append(time.perf_counter() - start)
        start = time.perf_counter()
        verify_pairs(first, second, same)
        seconds["verify_pairs"].append(time.perf_counter() - start)
        assert found.tolist() == accuracies.tolist() and rates.val == vals.mean()
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    ratio = medians["loops"] / medians["protocol"]
    print(
        f"{FLAGS.num_pairs} pairs: loops {1e3 * medians['loops']:.0f} ms, ours "
        f"{1e3 * medians['protocol']:.2f} ms, {ratio:.0f} times as fast; all of "
        f"verify_pairs {1e3 * medians['verify_pairs']:.0f} ms"
    )
    if FLAGS.output:
        record = {
            "seconds": seconds,
            "ratio": ratio,
            "created_with": provenance(settings_of(FLAGS)),
        }
        files.write_json(FLAGS.output, record)


if __name__ == "__main__":
    run_command(main, FLAGS)
