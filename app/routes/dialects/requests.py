"""Requests of OpenAI's clients, for completions and chats. Knows no answer."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from pydantic import Field, field_validator

from app.http.problems import unprocessable
from app.routes.dialects.common import (
    DEFAULT_LENGTH,
    LEAST_TOP_P,
    MAX_LENGTH,
    Chat,
    Lenient,
    listed_stops,
    sample_query,
    warmth,
)
from app.routes.texts import MAX_LISTED
from app.routes.together import MAX_WRITTEN, several
from app.schemas.common import Style, Unknown
from app.schemas.texts import MAX_PRIME, MAX_STOPS, MAX_TEXTS, SampleQuery

MAX_CHOICES, MAX_CANDIDATES = 16, 20
MAX_ALTERNATIVES = 20


class StreamOptions(Lenient):
    include_usage: bool = Field(default=False, description="End with the usage.")


class OpenAIRequest(Lenient, ABC):
    """Fields that completions and chats share, plus ``top_k``, ``style`` and ``unknown``."""

    prompt_field: ClassVar[str]

    model: str = Field(description="Model to use.")
    max_tokens: int = Field(
        DEFAULT_LENGTH,
        ge=-1,
        le=MAX_LENGTH,
        description="Characters to write; -1 is as many as possible.",
    )
    temperature: float = Field(1.0, ge=0, le=10, description="Randomness; 0 is argmax.")
    top_p: float | None = Field(
        None, ge=0, le=1, description="Nucleus sampling: smallest set with this total probability."
    )
    top_k: int | None = Field(
        None, ge=1, le=1 << 20, description="Number of most likely characters to sample from."
    )
    style: Style = None
    n: int = Field(1, ge=1, le=MAX_CHOICES, description="Choices to return for each prompt.")
    seed: int | None = Field(None, description="Random seed; the same one gives the same text.")
    stop: list[str] = Field(
        [], max_length=MAX_STOPS, description="Strings; the text ends before the first one found."
    )
    stream: bool = Field(False, description="Send the text as events as it is written.")
    stream_options: StreamOptions = Field(StreamOptions(), description="Options of a stream.")
    unknown: Unknown = Field(
        "error", description="Whether unknown characters are an error or skipped."
    )

    @field_validator("stop", mode="before")
    @classmethod
    def _stops(cls, stop: Any) -> Any:
        return listed_stops(stop)

    @property
    @abstractmethod
    def prompts(self) -> list[str]: ...

    @property
    @abstractmethod
    def alternatives(self) -> int | None:
        """The number of likely characters to list for each one; None is no logprobs."""

    @property
    def length(self) -> int:
        return MAX_LENGTH if self.max_tokens < 0 else self.max_tokens

    @property
    def candidates(self) -> int:
        """Texts to write for each prompt."""
        return self.n

    @property
    def echoes(self) -> bool:
        return False

    @property
    def tells_prompt(self) -> bool:
        """Whether the prompt's characters have logprobs too."""
        return self.echoes and self.alternatives is not None

    def queries(self) -> list[SampleQuery]:
        """A query for each text, those of a prompt together. Raises Problem, 422."""
        self._check()
        return [
            query
            for prompt in self.prompts
            for query in several(self._query(prompt), [prompt] * self.candidates)
        ]

    def _query(self, prompt: str) -> SampleQuery:
        ranks = self.candidates > self.n
        listed = max(1, self.alternatives or 0) if ranks or self.alternatives is not None else 0
        return sample_query(
            model=self.model,
            prime=prompt,
            temperature=warmth(self.temperature),
            length=self.length,
            seed=self.seed,
            top_k=self.top_k,
            top_p=None if self.top_p is None else max(self.top_p, LEAST_TOP_P),
            stop=self.stop,
            unknown=self.unknown,
            style=self.style,
            probabilities=listed,
        )

    def _check(self) -> None:
        """Raises Problem, 422: there are too many texts, or an answer would be too large."""
        texts = len(self.prompts) * self.candidates
        if texts > MAX_TEXTS:
            raise unprocessable(
                "prompt",
                f"must not ask for more than {MAX_TEXTS} texts in all, of each prompt n or best_of",
            )
        each = 1 + max(1, self.alternatives or 0)
        if self.tells_prompt:
            most = MAX_LISTED // (each * self.candidates)
            if sum(map(len, self.prompts)) > most:
                raise unprocessable(
                    "prompt", f"must have at most {most} characters with these logprobs and n"
                )
        if self.stream:
            return
        most = MAX_WRITTEN // texts
        if self.alternatives is not None:
            most = min(most, MAX_LISTED // (texts * each))
        if self.length > most:
            raise unprocessable(
                "max_tokens",
                f"must be at most {most} with these logprobs and so many texts; "
                "stream=true lifts this limit",
            )


def _prompts(prompt: Any) -> list[str]:
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, list) or not all(isinstance(one, str) for one in prompts):
        raise ValueError("must be text: a string, or a list of strings")
    if not 1 <= len(prompts) <= MAX_TEXTS:
        raise ValueError(f"must be a list of 1 to {MAX_TEXTS} strings")
    if any(len(one) > MAX_PRIME for one in prompts):
        raise ValueError(f"must have at most {MAX_PRIME:,} characters")
    return prompts


class CompletionRequest(OpenAIRequest):
    """The supported subset of OpenAI's fields, plus ``top_k``, ``style`` and ``unknown``."""

    prompt_field = "prompt"

    prompt: list[str] = Field([""], description="Text to continue, or a list of texts.")
    best_of: int | None = Field(
        None,
        ge=1,
        le=MAX_CANDIDATES,
        description="Texts to write for each prompt, of which those n are returned that are "
        "likeliest by the mean logprob of their characters.",
    )
    echo: bool = Field(False, description="Start the text with the prompt.")
    logprobs: int | None = Field(
        None, ge=0, le=MAX_ALTERNATIVES, description="Alternatives to list for each character."
    )

    @field_validator("prompt", mode="before")
    @classmethod
    def _listed(cls, prompt: Any) -> Any:
        return _prompts(prompt)

    @field_validator("logprobs", mode="before")
    @classmethod
    def _number(cls, logprobs: Any) -> Any:
        # Chat completions have it as a boolean, and some clients send that here too.
        if isinstance(logprobs, bool):
            return 1 if logprobs else None
        return logprobs

    @property
    def prompts(self) -> list[str]:
        return self.prompt

    @property
    def alternatives(self) -> int | None:
        return self.logprobs

    @property
    def candidates(self) -> int:
        return self.best_of or self.n

    @property
    def echoes(self) -> bool:
        return self.echo

    def _check(self) -> None:
        if self.candidates < self.n:
            raise unprocessable("best_of", "must be at least n")
        if self.stream and self.candidates > self.n:
            raise unprocessable("best_of", "must be n with stream=true: the best are known last")
        super()._check()


class ChatRequest(OpenAIRequest):
    """The supported subset of OpenAI's fields, plus ``top_k``, ``style`` and ``unknown``."""

    prompt_field = "messages"

    messages: Chat
    max_completion_tokens: int | None = Field(
        None, ge=-1, le=MAX_LENGTH, description="The newer name of max_tokens."
    )
    logprobs: bool = Field(False, description="Return the logprob of each character.")
    top_logprobs: int = Field(
        0, ge=0, le=MAX_ALTERNATIVES, description="Alternatives to list for each character."
    )

    @property
    def prompts(self) -> list[str]:
        return [self.messages]

    @property
    def alternatives(self) -> int | None:
        return self.top_logprobs if self.logprobs else None

    @property
    def length(self) -> int:
        if self.max_completion_tokens is None:
            return super().length
        return MAX_LENGTH if self.max_completion_tokens < 0 else self.max_completion_tokens
