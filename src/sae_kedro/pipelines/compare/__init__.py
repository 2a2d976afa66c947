"""From parameters to a table and a figure of several variants."""

from sae_kedro.pipelines.compare.pipeline import create_pipeline as create_pipeline
