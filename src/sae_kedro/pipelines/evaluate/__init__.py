"""From a trained SAE to metrics and plots."""

from sae_kedro.pipelines.evaluate.pipeline import create_pipeline as create_pipeline
