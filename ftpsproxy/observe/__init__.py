"""What the outside sees: the log, and what is counted."""
