"""Where users already are: plugs for other tools, one module each, found by entry points and imported only by these tools."""
