"""The networks: one folder each, and none knows the words of another."""
