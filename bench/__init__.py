"""Where speed is measured: ours against the plain way, in the same run, as a ratio."""
