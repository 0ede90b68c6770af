"""OctaSpace's protocol, spoken by the island."""
