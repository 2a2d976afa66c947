"""What latents mean, why texts are close, and what sets groups of texts apart."""
