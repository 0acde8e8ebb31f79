"""Mahalanobis distances between a training set and a target."""
