"""From a buffer of embeddings and an SAE to the fewest features that tell groups of texts."""

from sae_kedro.pipelines.predict.pipeline import create_pipeline as create_pipeline
