"""The synchronous twin, generated from the asynchronous source."""
