"""Carrying out DC1 jobs: one loop for the island's own machine and for an outside provider (protocol section 5.7)."""
