"""The identity-conditioned latent diffusion model: networks, sampler, trainings."""
