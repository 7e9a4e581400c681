"""microfield: microscopy images as neural fields."""
