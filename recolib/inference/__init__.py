"""Inference: from what a caller wants to lists and scores."""
