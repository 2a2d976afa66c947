"""From a buffer of embeddings and an SAE to what sets groups of texts apart."""

from sae_kedro.pipelines.contrast.pipeline import create_pipeline as create_pipeline
