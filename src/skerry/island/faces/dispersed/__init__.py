"""What the island says to clients of the Dispersed Network."""
