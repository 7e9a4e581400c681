"""Invertible transforms that gather an image's energy in few numbers."""
