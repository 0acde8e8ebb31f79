"""Flags of a run: Hydra's, answered in our words, and what they print."""
