"""Training: the loop and what it is made of; nothing of settings, ids or frames."""
