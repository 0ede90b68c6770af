"""Helpers: programs that do one kind of work for the island, supervised, and honestly absent where they cannot run."""
