"""The default solver against Algorithm 1: objective against time.

    python -m benchmarks.packing_quality --output=quality.json
    python -m benchmarks.packing_quality --num_iterations=2000 --large_n=0

First Algorithm 1, in its own fast form, and the default solver pack the same start (the
gallery itself) near the same gallery. Reported is how long the default solver takes to
the objective that Algorithm 1 ends with, and what both have reached at equal times.
Then the default solver packs --large_n references within --large_seconds.

Algorithm 1's 100,000 iterations take long. Its state is kept in --work every minute:
the same command goes on after an interruption. With fewer --num_iterations its whole
schedule is run, compressed.

"proven least": no arrangement in which every reference keeps its gallery row has a
smaller objective (hyperface_jax.objective_bound); computed untimed, though it takes
dozens of iterations' time: --noprove leaves it out.

Seconds count from the call to the end, compilation included; "compile s" of them is
the first iteration.
"""

import pathlib
import time
from typing import NamedTuple

import numpy as np
from absl import flags

from benchmarks import plots, timing
from hyperface_jax import PackingConfig, PackingResult, objective_bound, pack_embeddings
from hyperface_jax.commands import progress, run_command, settings_of

FLAGS = flags.FlagValues()
flags.DEFINE_integer(
    "n", 2000, "references, and gallery, of the comparison", flag_values=FLAGS
)
flags.DEFINE_integer("d", 512, "dimensions", flag_values=FLAGS)
flags.DEFINE_integer(
    "num_iterations", 100_000, "of Algorithm 1; 0 leaves it out", flag_values=FLAGS
)
flags.DEFINE_integer(
    "large_n",
    10_000,
    "references, and gallery, of the other; 0: none",
    flag_values=FLAGS,
)
flags.DEFINE_float("large_seconds", 180.0, "time limit of the other", flag_values=FLAGS)
flags.DEFINE_multi_float(
    "bar", [-0.89, -0.895], "objectives to time it to", flag_values=FLAGS
)
flags.DEFINE_bool("prove", True, "prove the least objective", flag_values=FLAGS)
flags.DEFINE_float("regularization_weight", 0.5, "α", flag_values=FLAGS)
flags.DEFINE_string(
    "work", "runs/packing_quality", "folder for checkpoints", flag_values=FLAGS
)
flags.DEFINE_string(
    "output", None, "JSON record to write, plots beside it", flag_values=FLAGS
)
_SCHEDULE = 100_000
_CURVE_POINTS = 400


class Run(NamedTuple):
    """A packing and when it got where.

    Attributes:
      result: what was found.
      seconds: ``[iterations]``, when each iteration ended.
      objective: ``[iterations]``, after each iteration.
      resumed: whether it went on from a checkpoint; the seconds between are then
        evenly spread.
    """

    result: PackingResult
    seconds: np.ndarray
    objective: np.ndarray
    resumed: bool = False

    def seconds_to(self, objective: float) -> float | None:
        """When the objective was first as low; None if never."""
        reached = np.flatnonzero(self.objective <= objective)
        return float(self.seconds[reached[0]]) if len(reached) else None

    def objective_at(self, seconds: float) -> float | None:
        """The objective at a time; None before the first iteration ended."""
        done = int(np.searchsorted(self.seconds, seconds, side="right"))
        return float(self.objective[done - 1]) if done else None


def run(
    gallery: np.ndarray, config: PackingConfig, checkpoint: pathlib.Path | None = None
) -> Run:
    """Packs from the gallery itself, with a progress bar."""
    if checkpoint is not None:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
    resumed = checkpoint is not None and checkpoint.exists()
    seen, began = [], time.perf_counter()
    with progress(
        total=config.for_rows(len(gallery)).iterations, description=config.method
    ) as bar:

        def note(done: int, terms: object) -> None:
            del terms
            seen.append((done, time.perf_counter() - began))
            bar.update(done - bar.n)

        result = pack_embeddings(
            gallery, gallery, config, on_progress=note, checkpoint_path=checkpoint
        )
    total = time.perf_counter() - began
    # The history has what was before each iteration.
    objective = np.append(result.history["objective"], result.objective)[1:]
    return Run(result, _times(seen, result, total), objective, resumed)


def _times(
    seen: list[tuple[int, float]], result: PackingResult, total: float
) -> np.ndarray:
    """When each iteration ended, from when some were seen to."""
    count = len(result.history["objective"])
    iteration = np.arange(1, count + 1)
    # A run that goes on from a checkpoint is timed as a whole, over all its parts.
    if result.seconds > total:
        return result.seconds * iteration / count
    return np.interp(iteration, *zip(*seen, strict=True))


def row_of(found: Run, gallery: np.ndarray, bars: list[float]) -> dict:
    """A line of the table."""
    result = found.result
    least, weight = None, result.config.regularization_weight
    if weight > 0 and FLAGS.prove:
        proven = objective_bound(
            result.embeddings, gallery, regularization_weight=weight
        )
        least = proven.bound if proven.curvature > 0 else None
    return {
        "method": result.config.method,
        "n": len(result.embeddings),
        "iterations": len(found.seconds),
        "compile s": None if found.resumed else float(found.seconds[0]),
        "seconds": float(found.seconds[-1]),
        "objective": result.objective,
        "proven least": least,
        "max cosine": result.max_cosine,
        "regulariser": result.regularization,
        "bound of max cosine": result.bound,
        **{f"s to {bar:.4f}": found.seconds_to(bar) for bar in bars},
        "stopped": result.stopped.split(":")[0],
    }


def compare(ours: Run, theirs: Run) -> dict:
    """The default solver beside Algorithm 1, JSON-ready."""
    seconds = ours.seconds_to(theirs.result.objective)
    whole = float(theirs.seconds[-1])
    running = None if seconds is None else max(seconds - float(ours.seconds[0]), 1e-9)
    at_end = float(ours.seconds[-1])
    return {
        "algorithm1_resumed": theirs.resumed,
        "algorithm1_seconds": whole,
        "algorithm1_objective": theirs.result.objective,
        "seconds_to_it": seconds,
        "seconds_to_it_after_compiling": running,
        "times_faster": None if seconds is None else whole / seconds,
        "times_faster_after_compiling": None if running is None else whole / running,
        "equal_seconds": at_end,
        "objective_then": ours.result.objective,
        "algorithm1_objective_then": theirs.objective_at(at_end),
    }


def curve(found: Run) -> tuple[list[float], list[float]]:
    """Seconds and objective, thinned out evenly on a logarithmic axis."""
    last = len(found.seconds) - 1
    keep = np.unique(np.geomspace(1, last + 1, _CURVE_POINTS).astype(int)) - 1
    return found.seconds[keep].tolist(), found.objective[keep].tolist()


def against_algorithm1(gallery: np.ndarray, shared: dict) -> dict[str, Run]:
    """Both methods from the same start."""
    runs = {"default solver": run(gallery, PackingConfig(**shared))}
    if FLAGS.num_iterations:
        config = PackingConfig(
            method="algorithm1",
            num_iterations=FLAGS.num_iterations,
            decay_every=max(1, 5000 * FLAGS.num_iterations // _SCHEDULE),
            **shared,
        )
        runs["Algorithm 1"] = run(gallery, config, _checkpoint())
    return runs


def _checkpoint() -> pathlib.Path:
    """Where Algorithm 1's state is kept."""
    name = f"algorithm1_{FLAGS.n}_{FLAGS.d}_{FLAGS.num_iterations}.npz"
    return pathlib.Path(FLAGS.work) / name


def main() -> None:
    shared = {"regularization_weight": FLAGS.regularization_weight}
    gallery = timing.power_law_gallery(FLAGS.n, FLAGS.d, seed=1)
    runs = against_algorithm1(gallery, shared)
    rows = [row_of(each, gallery, FLAGS.bar) for each in runs.values()]
    panels = [_panel(f"{FLAGS.n:,} references", runs, {})]
    comparison, large = None, {}
    if "Algorithm 1" in runs:
        comparison = compare(runs["default solver"], runs["Algorithm 1"])
    if FLAGS.large_n:
        gallery = timing.power_law_gallery(FLAGS.large_n, FLAGS.d, seed=1)
        config = PackingConfig(time_limit=FLAGS.large_seconds, **shared)
        large["default solver"] = run(gallery, config)
        rows.append(row_of(large["default solver"], gallery, FLAGS.bar))
        lines = {f"{bar:g}": bar for bar in FLAGS.bar}
        panels.append(_panel(f"{FLAGS.large_n:,} references", large, lines))
    curves = {
        f"{name}, {len(each.result.embeddings)}": curve(each)
        for group in (runs, large)
        for name, each in group.items()
    }
    timing.report(
        "packing_quality",
        rows,
        settings_of(FLAGS),
        FLAGS.output,
        comparison=comparison,
        curves=curves,
    )
    for name, value in (comparison or {}).items():
        print(
            f"{name.replace('_', ' ')}: {'never' if value is None else f'{value:.5g}'}"
        )
    plots.draw_curves(FLAGS.output, panels)
    # Else the same command would take up a run that has ended.
    _checkpoint().unlink(missing_ok=True)


def _panel(title: str, runs: dict[str, Run], bars: dict[str, float]) -> plots.Panel:
    curves = {name: curve(each) for name, each in runs.items()}
    return plots.Panel(title, "seconds", "objective, smaller is better", curves, bars)


if __name__ == "__main__":
    run_command(main, FLAGS)
