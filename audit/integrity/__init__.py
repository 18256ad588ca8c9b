"""Whether the database is what it should be."""
