"""Renters: their accounts, keys and callbacks (sections 3.1 and 5.9)."""
