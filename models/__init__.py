"""The computing part: corpora, networks, training, checkpoints and decoding.

Knows no HTTP, no Redis, no environment variable and no job.
"""
