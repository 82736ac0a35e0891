"""Who trains: takes jobs from the queue, calls models, publishes checkpoints and events.

``jobs``, ``corpora`` and ``queue`` are the torch-free side that the server uses too.
"""
