"""From parameters to a buffer of sentence embeddings."""

from sae_kedro.pipelines.encode.pipeline import create_pipeline as create_pipeline
