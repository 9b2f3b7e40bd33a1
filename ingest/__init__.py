"""The ways in, and the loop: Kafka, the registry feed, the command line, settings. May import every other room."""
