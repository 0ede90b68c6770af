"""Idle jobs: what a node does while nobody rents it (protocol sections 3.13 and 5.4)."""
