"""One file, one kind of source; its `KIND` is a `Corpus` that opens the paths that are its own."""
