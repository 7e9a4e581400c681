"""The compress path: settings and budget, the searches for a size or a quality, and assembling the file."""
