"""The demo: three runs of an insurance's claims triage, told to the recorder and to nothing else.

`story` has the runs, `passage` the way of one claim, `sinks` where it ends, `travel` one step;
`claims` and `texts` invent what is in them, `pipeline` what they go through. Whatever is told is
the same on every machine for a given first day, ids included.
"""
