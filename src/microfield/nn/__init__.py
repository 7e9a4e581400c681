"""Sine networks, as the coordinate methods use them: coordinates, evaluation, fit loop, optimisers and guidance."""
