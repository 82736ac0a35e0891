"""Who is asked: HTTP, pages, streams. Never imports training code."""
