"""A W&B workspace and a W&B report of a sweep."""
