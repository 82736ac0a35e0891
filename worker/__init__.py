"""The worker: takes jobs from the queue, trains models, publishes checkpoints and events.

All but ``worker.trainer`` is free of torch, and the server uses it too.
"""
