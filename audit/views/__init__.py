"""Pages. A view translates an address into one question, and the answer into a template."""
