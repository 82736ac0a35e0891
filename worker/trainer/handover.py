"""What a worker and its horse tell each other: variables and an exit code. Knows no value."""

LOCK = "CHARLOOM_LOCK"
"""The descriptor of the job's lock, which the horse inherits."""

LEASE = "CHARLOOM_LEASE"
"""The job's lease, which the horse renews: the worker's id and the epoch among others."""

WORKER_PID = "CHARLOOM_WORKER_PID"
"""The worker's process id."""

GPUS = "CHARLOOM_GPUS"
"""How many GPUs the worker saw at its start; unset where it trains on the processor."""

REDIS_LOST = 75
"""Exit code of a horse whose job Redis lost on the way: it is no fault of the job."""
