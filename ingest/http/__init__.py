"""What is asked of a running process over HTTP."""
