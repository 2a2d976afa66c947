"""From a buffer of embeddings and an SAE to the codes of a corpus."""

from sae_kedro.pipelines.codes.pipeline import create_pipeline as create_pipeline
