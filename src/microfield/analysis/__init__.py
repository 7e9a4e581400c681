"""The analysis that follows an experiment, done on the original and on its reconstruction."""
