"""Coordinate networks: what `siren` and `inif` share. network(coordinates) = intensities, and the weights are the file."""
