"""What ``bench.learn`` compares: one module for each system, each run in a process of its own.

A process prints a line of JSON for each loss that it measures, ``{"seconds": …, "loss": …}``,
or one that says why it measures none, ``{"declined": …}``.
"""
