"""Okutama-Action: where frames and labels of its sequences lie, and the records they become."""
