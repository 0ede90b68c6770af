"""`python -m skerry` is the `skerry` command."""

from __future__ import annotations

from skerry.cli.main import main

if __name__ == "__main__":
    main()
