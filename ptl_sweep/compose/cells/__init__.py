"""What names a cell: coordinates, axes of the user's own, and the arm that they make together."""
