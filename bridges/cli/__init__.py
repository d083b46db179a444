"""Commands, one module each; no library module imports them."""

from hyperface_jax.commands import let_idle_threads_sleep

# Here, before any command of this package loads torch.
let_idle_threads_sleep()
