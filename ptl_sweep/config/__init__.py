"""Typed configuration: what Hydra composes, checked where it is made."""
