"""What a worker hands to its horse through the environment."""

LOCK = "CHARLOOM_LOCK"
"""Names the descriptor of the job's lock in a horse's environment."""

WORKER_PID = "CHARLOOM_WORKER_PID"
"""Names the worker in a horse's environment."""
