"""Nodes: what they have, what they do, what they earn (protocol sections 3.5, 3.10, 5.4 and 6)."""
