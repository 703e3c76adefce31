"""Fitting: what one fit does, from settings and data to a network, a plan and a run."""
