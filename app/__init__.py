"""The server, the supervisor, the terminal and the experiments. Never imports training code."""
