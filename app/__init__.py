"""The server, the supervisor, the terminal and the experiments. Never imports training code."""

__version__ = "0.1.0"
