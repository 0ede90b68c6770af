"""The terminal of a session in a browser (protocol section 3.10)."""
