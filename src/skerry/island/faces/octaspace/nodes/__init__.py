"""Nodes: this machine as their operators see it (protocol sections 3.4 and 7)."""
