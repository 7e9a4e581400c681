"""The open path: a lazy array over a file, its parts, and what a selection means."""
