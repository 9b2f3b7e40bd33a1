"""The service under fire: everything that may break does, again and again, and what is stored is right none the less.

`python -m tests.chaos --seconds 600`, or `make chaos SECONDS=600`. `load` is what flows in, `trouble` what happens to those
who work on it, `compare` what must be there at the end, `run` the order of it all.
"""
