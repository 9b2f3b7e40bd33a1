"""The judgement: one pure function from a raw record, the registry and the law to a reading or a rejection.

No I/O beyond its own data file, no async, no clock: times are arguments. May import `schemas` only.
"""
