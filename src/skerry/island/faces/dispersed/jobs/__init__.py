"""Jobs and their runs: asked for, placed, carried out, billed (protocol sections 3.2, 3.3 and 5)."""
