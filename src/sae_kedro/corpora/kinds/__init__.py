"""One file, one kind of source; its `KIND` is a `Source` that opens the paths that are its own."""
