"""What the latents of a trained SAE mean, and what codes tell of texts. A plain library: no Kedro."""

CODE_COLUMNS = ("row", "text", "top_indices", "top_acts")
"""Columns that every table of codes has."""
