"""The file: its layout declared once, the grid of its parts, and where its bytes come from."""
