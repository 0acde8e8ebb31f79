"""A W&B backend on loopback, against which real online runs complete."""
