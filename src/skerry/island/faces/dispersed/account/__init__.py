"""Accounts: their key pairs, SSH keys and books (protocol sections 3.6 to 3.10)."""
