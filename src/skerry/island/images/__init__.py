"""Images: read-only root file systems, made from the machine, pulled from registries, built or imported."""
