"""Learning-rate and temperature schedules: functions from a step to a value."""

import jax
import optax


def staircase_decay(
    init_value: float, *, decay_rate: float = 0.75, transition_steps: int = 5000
) -> optax.Schedule:
    r"""The decay of Algorithm 1: multiplies by ``decay_rate`` at regular intervals.

    .. math:: \lambda_t = \lambda_0 \, r^{\lfloor t / T \rfloor}

    A geometric staircase: the paper calls it a power decay, but it is neither
    polynomial in ``t`` nor continuous.

    Args:
      init_value: :math:`\lambda_0`, the value of the first steps.
      decay_rate: :math:`r`, in (0, 1].
      transition_steps: :math:`T`, at least 1.
    """
    return optax.exponential_decay(
        init_value, transition_steps, decay_rate, staircase=True
    )


def geometric(
    init_value: float, end_value: jax.Array | float, fraction: jax.Array | float
) -> jax.Array | float:
    r"""Falls by a constant factor: a straight line on a logarithmic scale.

    .. math:: \tau(f) = \tau_0 (\tau_1 / \tau_0)^f

    Args:
      init_value: :math:`\tau_0` > 0.
      end_value: :math:`\tau_1` > 0.
      fraction: :math:`f`, how much of the run is over, in [0, 1].
    """
    return init_value * (end_value / init_value) ** fraction
