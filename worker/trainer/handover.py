"""Environment variables that a worker hands to its horse. Knows no value of theirs."""

LOCK = "CHARLOOM_LOCK"
"""The descriptor of the job's lock, which the horse inherits."""

WORKER_PID = "CHARLOOM_WORKER_PID"
"""The worker's process id."""
