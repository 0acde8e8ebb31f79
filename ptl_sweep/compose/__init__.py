"""From a Hydra command line to checked cells."""
