"""The method `field`: a wavelet on a lattice of levels, coded with a neural context model, refined by a neural network."""
