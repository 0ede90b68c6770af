"""Models: the catalogue, questions that are answered at once, and what serving jobs serve (sections 3.6 and 3.8)."""
