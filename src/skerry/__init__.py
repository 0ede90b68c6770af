"""Skerry."""
