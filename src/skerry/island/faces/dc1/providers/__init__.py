"""Providers: this machine and others, their heartbeats and their work (sections 3.2 and 3.7)."""
