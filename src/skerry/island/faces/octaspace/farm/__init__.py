"""The render farm (protocol section 8): a queue manager and a storage, in front of the island's render workers."""
