"""Identity-conditioned image generation: a latent diffusion model over face images."""
