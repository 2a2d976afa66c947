"""From a buffer of embeddings and an SAE to what its latents stand for."""

from sae_kedro.pipelines.interpret.pipeline import create_pipeline as create_pipeline
