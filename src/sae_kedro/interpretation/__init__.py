"""What latents stand for, why two texts are close, and what sets groups of texts apart. A plain library: no Kedro."""
