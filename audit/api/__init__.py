"""`/api/v1/`: the same questions as the pages ask, answered in JSON. Read-only."""
