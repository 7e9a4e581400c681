"""``microfield study``: which ratio is safe for an analysis, from a bench of the user's own images (`study.plan`)."""
