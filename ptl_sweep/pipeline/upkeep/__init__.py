"""Looking after a store: how large it is, whether it is whole, what may be removed."""
