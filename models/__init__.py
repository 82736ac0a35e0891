"""What is computed: corpora, networks, training, checkpoints, decoding.

Knows no HTTP, no Redis, no environment variable and no job.
"""
