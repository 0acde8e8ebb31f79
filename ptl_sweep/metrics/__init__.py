"""Numbers of one detector on one target."""
