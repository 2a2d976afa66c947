"""Exact, streaming metrics and the plots made of them. A plain library: no Kedro."""
