"""``/v1``: completions and chats for OpenAI's clients. A character is a token.

A model does not chat: it continues the last message of the user. Knows no other dialect.
"""

from typing import Literal, TypedDict

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.http.bodies import json_body
from app.routes.dialects import answers
from app.routes.dialects.choices import ChatChoice, Form, TextChoice
from app.routes.dialects.common import ForeignJson, received
from app.routes.dialects.requests import ChatRequest, CompletionRequest, OpenAIRequest
from app.routes.services import Services, ServicesDep, writing_for
from app.routes.together import open_all
from app.schemas.common import PathModel
from models.checkpoints.card import date
from models.checkpoints.reference import Reference
from models.checkpoints.registry import Entry

router = APIRouter(prefix="/v1", tags=["OpenAI's dialect"])


class OpenAIModel(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class OpenAIModelList(TypedDict):
    object: Literal["list"]
    data: list[OpenAIModel]


@router.get("/models", summary="List models (OpenAI)", response_model=ForeignJson)
def list_models(services: ServicesDep) -> OpenAIModelList:
    """Every model under each of its tags."""
    return {"object": "list", "data": [_model(entry) for entry in services.models.entries()]}


@router.get("/models/{model}", summary="Get a model (OpenAI)", response_model=ForeignJson)
def show_model(model: PathModel, services: ServicesDep) -> OpenAIModel:
    """A model as it is listed."""
    return _model(services.models.entry(Reference.from_client(model)))


def _model(entry: Entry) -> OpenAIModel:
    made = date(entry.card)
    return {
        "id": str(entry.reference),
        "object": "model",
        "created": int(made.timestamp()) if made else 0,
        "owned_by": "charloom",
    }


@router.post(
    "/completions",
    summary="Complete a text (OpenAI)",
    openapi_extra=json_body(CompletionRequest),
)
async def complete(request: Request, services: ServicesDep) -> Response:
    """`max_tokens` counts characters; the default is 1000. Unsupported fields are ignored."""
    fields = await received(request, CompletionRequest)
    return await _answered(request, services, fields, TextChoice)


@router.post(
    "/chat/completions",
    summary="Complete a chat (OpenAI)",
    openapi_extra=json_body(ChatRequest),
)
async def chat(request: Request, services: ServicesDep) -> Response:
    """The last message of the user is the text to continue; other messages are ignored.

    `max_tokens` counts characters; the default is 1000. Unsupported fields are ignored.
    """
    fields = await received(request, ChatRequest)
    return await _answered(request, services, fields, ChatChoice)


async def _answered(
    request: Request, services: Services, fields: OpenAIRequest, form: type[Form]
) -> Response:
    queries, caller = fields.queries(), writing_for(request, services)
    names = [fields.prompt_field] * len(queries)
    opened = await open_all(
        services.texts, queries, caller, names=names, tell_prime=fields.tells_prompt
    )
    return await answers.Answer(fields, opened, form).response(request)
