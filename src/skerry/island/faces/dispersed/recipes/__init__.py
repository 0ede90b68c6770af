"""Recipes: saved jobs (protocol section 3.4)."""
