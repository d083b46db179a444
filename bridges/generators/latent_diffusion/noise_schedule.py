"""The noise schedule of the latent diffusion model, as diffusers' classes take it."""

from typing import Any

from diffusers import DDPMScheduler

# Part of what the weights mean, so it is no setting.
NOISE_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
}


def noise_schedule() -> DDPMScheduler:
    """The schedule as trainings use it.

    Its ``alphas_cumprod`` ``[1000]`` is the share of signal power at each time, from 1
    (clean) to 0 (noise).
    """
    return DDPMScheduler(**NOISE_SCHEDULE)
