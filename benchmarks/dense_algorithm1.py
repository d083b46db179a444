"""Algorithm 1 the plain way, to compare with: all cosines at once, autodiff, Adam.

Two of it, in PyTorch and in JAX. Each takes a step a call and holds several ``n × n``
arrays meanwhile. PyTorch is loaded only by a process that asks for it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

_RATE = 0.01
_ALPHA = 0.5
# Below every cosine: no row is its own neighbour.
_SELF = -4.0

Step = Callable[[], tuple]


def torch_steps(initial: np.ndarray, gallery: np.ndarray) -> Step:
    """Steps of PyTorch's autograd.

    Args:
      initial: ``[n, d]``, unit rows.
      gallery: ``[m, d]``, unit rows.

    Returns:
      A function that takes a step and returns the objective before it, and ``[n, d]``
      after it.
    """
    import torch

    gallery = torch.from_numpy(gallery)
    x = torch.from_numpy(initial).clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=_RATE)

    def step() -> tuple[np.ndarray, np.ndarray]:
        unit = torch.nn.functional.normalize(x, dim=1)
        cosine = (unit @ unit.T).fill_diagonal_(_SELF)
        pull = (1 - (unit @ gallery.T).amax(dim=1)).mean()
        objective = cosine.max() - 1 + _ALPHA * pull
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
        with torch.no_grad():
            x.copy_(torch.nn.functional.normalize(x, dim=1))
        return objective.detach().numpy(), x.detach().numpy()

    return step


def jax_steps(initial: np.ndarray, gallery: np.ndarray) -> Step:
    """Steps of ``jax.grad``; as :func:`torch_steps`."""
    gallery, optimizer = jnp.asarray(gallery), optax.adam(_RATE)

    def objective(x: jax.Array) -> jax.Array:
        unit = x / jnp.linalg.norm(x, axis=1, keepdims=True)
        cosine = jnp.matmul(unit, unit.T, precision="highest")
        cosine = jnp.fill_diagonal(cosine, _SELF, inplace=False)
        pull = jnp.matmul(unit, gallery.T, precision="highest").max(axis=1)
        return cosine.max() - 1 + _ALPHA * jnp.mean(1 - pull)

    @jax.jit
    def update(x: jax.Array, state: optax.OptState) -> tuple:
        value, gradient = jax.value_and_grad(objective)(x)
        updates, state = optimizer.update(gradient, state)
        x = optax.apply_updates(x, updates)
        return value, x / jnp.linalg.norm(x, axis=1, keepdims=True), state

    x = jnp.asarray(initial)
    state = optimizer.init(x)

    def step() -> tuple[jax.Array, jax.Array]:
        nonlocal x, state
        value, x, state = update(x, state)
        return value, x

    return step
