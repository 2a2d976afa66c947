"""From a buffer of embeddings to a trained SAE."""

from sae_kedro.pipelines.train.pipeline import create_pipeline as create_pipeline
