"""One file, one thing that users do with embeddings, measured on embeddings, reconstructions and codes.

Each file has the configuration `KEY` that names its data, `check(cfg)`, which refuses before a model loads, and
`measure(sae, store, cfg)`, which returns metrics by name. A file that is put here is found.
"""
