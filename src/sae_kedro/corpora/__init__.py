"""Where texts come from: kinds of sources, and the formats of files. A plain library: no Kedro, no models."""
