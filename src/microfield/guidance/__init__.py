"""Guidance: what an encoder keeps beside grey levels, such as a segmentation; recipes, the user's function, gradients of parts."""
