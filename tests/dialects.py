"""What tests of the dialects share: a client of OpenAI's, and the same text from ``/sample``."""

from typing import Any

import httpx2
import openai


def openai_client(client: httpx2.Client) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="none", max_retries=0)


def sampled(client: httpx2.Client, **fields: Any) -> str:
    """What ``/sample`` writes."""
    response = client.get("/sample", params={"model": "toy"} | fields)
    assert response.status_code == 200, response.text
    return response.text
