"""Many variants, sparsities and settings on one corpus. A plain library: no Kedro."""
