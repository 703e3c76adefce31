"""Artifacts: what a model leaves on the disk."""
