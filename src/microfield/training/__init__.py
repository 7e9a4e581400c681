"""The programs that made the networks that ship with the package."""
