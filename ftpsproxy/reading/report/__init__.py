"""What a person hands in about a log: the report of some time, and the statement of what it proves."""
