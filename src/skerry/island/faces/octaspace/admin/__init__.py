"""What the network's API lacks, for the island's owner (protocol section 11.11)."""
