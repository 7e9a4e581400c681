"""Studies: benchmarks, the analysis that follows an experiment, and reports."""
