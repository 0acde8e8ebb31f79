"""Commands that use a detector of the store."""
