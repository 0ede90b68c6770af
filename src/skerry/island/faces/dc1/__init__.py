"""DC1 on the island: renters, providers, jobs and served models (`/dc1`)."""
