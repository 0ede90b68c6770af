"""The asynchronous source of everything that waits; its synchronous twin is generated from it."""
