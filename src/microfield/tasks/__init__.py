"""Analyses that a copy is to serve: what each measures in original and copy, and how much it may lose (`choose.task_of`)."""
