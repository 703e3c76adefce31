"""What is claimed about accuracy and speed, as commands."""
