"""Text in, embedding minibatches out. A plain library: no Kedro, no knowledge of SAEs."""
