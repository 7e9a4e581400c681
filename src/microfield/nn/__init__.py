"""What neural methods share: coordinates, sine networks, the fit loop, optimisers and guidance."""
