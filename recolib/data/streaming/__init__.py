"""Training data that is read part by part, and whose large arrays lie in files."""
