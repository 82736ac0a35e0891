"""What a worker hands to its horse: variables of the environment. Knows no value of them."""

LOCK = "CHARLOOM_LOCK"
"""The descriptor of the job's lock, which the horse inherits."""

WORKER_PID = "CHARLOOM_WORKER_PID"
"""The worker's process id."""
