"""What the user types: one file per group of commands."""
