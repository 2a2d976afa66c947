"""One trainer for every variant. A plain library: no Kedro."""
