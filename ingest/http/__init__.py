"""What is asked of a running process over HTTP: the probes of every service, and `readings serve`.

The service is one more way in. What happens to a reading is decided by `enrich.judge`, what a device is at a moment by
`enrich.as_of`, what may be stored by `sinks`; here are only the platform's names, who may ask, and what may be changed.
"""
