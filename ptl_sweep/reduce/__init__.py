"""From published stages to the tables and the page of a sweep."""
