"""The `skerry` command: an ordinary client of the public API, with no back doors."""
