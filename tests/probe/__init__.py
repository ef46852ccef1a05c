"""`ftpsproxy probe` before real and misbehaving servers."""
