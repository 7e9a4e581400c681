"""sincs: groups of a part as networks that each begin at a similar one and are stored as their difference to it."""
