"""Commands, one module each; no library module imports them."""

from hyperface_jax.commands import let_idle_threads_sleep

# Here, because every command module below loads torch by its own imports.
let_idle_threads_sleep()
