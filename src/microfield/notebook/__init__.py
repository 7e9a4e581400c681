"""How objects show themselves in a notebook: a small picture and a table of facts, without any library but NumPy."""
