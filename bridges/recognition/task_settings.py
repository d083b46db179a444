"""Settings of several tasks on one backbone, and of its attention; loads no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from hyperface_jax import InputError, checks

FIXED, UNCERTAINTY = "fixed", "uncertainty"
WEIGHTINGS = (FIXED, UNCERTAINTY)
PLAIN, DEMOGRAPHIC = "none", "demographic"
ATTENTIONS = (PLAIN, DEMOGRAPHIC)
# The task that trains the attention's classifier of groups; it comes with it.
GROUPS_TASK = "attention"
# The field of rendered people's records with the demographic group.
DEFAULT_GROUPS = "group"
# The λ of equation 10 (Mankame et al.) for the attributes. Untrained, their losses are
# 0.5 (half of a variance of 1), 0.5, 2.4 (eleven expressions) and 0.69 (two genders):
# with these factors each counts about 1, beside the ten or more of the identities.
ATTRIBUTE_WEIGHTS = {"pose": 2.0, "age": 2.0, "expression": 0.5, "gender": 1.5}
# What an Adam step moves a learned weight's logarithm by is bounded by the learning
# rate; larger factors than this are no matter of balance.
_MOST = 1e6

Weights = tuple[tuple[str, float], ...]


def checked_weights(weights: Any, tasks: Sequence[str], attention: str) -> Weights:
    """Weights of tasks as pairs, in the order of the tasks.

    Args:
      weights: factors by the name of a task, or pairs.
      tasks: what is trained.
      attention: one of :data:`ATTENTIONS`.

    Raises:
      InputError: no such form, a task that is not trained or named twice, a factor that
        is negative, or none that is positive.
    """
    known = [*tasks, *([GROUPS_TASK] if attention != PLAIN else [])]
    try:
        pairs = list(weights.items() if isinstance(weights, Mapping) else weights)
        given = dict(pairs)
    except (TypeError, ValueError):
        raise InputError(
            f"task_weights are {weights!r}, expected a factor by task, such as pose:0.1"
        ) from None
    for name, factor in given.items():
        if name not in known:
            raise InputError(
                f"task_weights name {name!r}, which is not trained; the tasks are "
                f"{', '.join(known)}"
            )
        checks.in_range(factor, f"task_weights of {name}", 0, _MOST)
    if len(given) < len(pairs):
        raise InputError("task_weights name a task twice; give each of them once")
    if all(given.get(name, 1) == 0 for name in tasks):
        raise InputError("task_weights are 0 for all tasks; nothing would be trained")
    return tuple((name, float(given[name])) for name in known if name in given)


def recorded_weights(weights: Weights, tasks: Sequence[str]) -> dict[str, float]:
    """The weights for ``training.json``: those given, and the attributes' defaults."""
    defaults = {n: ATTRIBUTE_WEIGHTS[n] for n in tasks if n in ATTRIBUTE_WEIGHTS}
    return {**defaults, **dict(weights)}


def check_attention(attention: str, groups: Any) -> None:
    """Checks the field that attention takes groups from.

    Raises:
      InputError: no name, or one where there is no attention.
    """
    if not isinstance(groups, str) or not groups:
        raise InputError(
            f"attention_groups are {groups!r}, expected a field of the records"
        )
    if attention == PLAIN and groups != DEFAULT_GROUPS:
        raise InputError(
            f"attention_groups are {groups!r} without attention; give "
            "attention=demographic, too"
        )
