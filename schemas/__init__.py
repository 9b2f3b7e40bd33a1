"""The nouns: what comes in (wire models), what a reading is once understood, why one is set aside.

Imports nothing of ours, does no I/O, never looks at the clock.
"""
