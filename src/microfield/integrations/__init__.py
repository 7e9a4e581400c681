"""Where users already are: plugs for other tools, found by their entry points, and the server for those that have none."""
