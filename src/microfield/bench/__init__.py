"""The bench: methods compared on images at equal sizes, resumable, with a page of results."""
