"""Evidence: what was recorded, sealed so that anyone can check it without us.

`records` says what a record is, `lines` gets canonical lines out of PostgreSQL, `merkle` and
`notes` are the tree and the signatures, `signing` has the keys, `store` the sealed text, `seals`
and `log` write what was signed, `comparing` holds the database against it. The format is
described in docs/export-format.md.
"""
