"""The explorer: a page in which people see what their corpus is made of. A plain library: no Kedro."""
