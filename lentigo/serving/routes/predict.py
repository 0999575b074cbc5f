"""Classification."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError

from lentigo.errors import did_you_mean
from lentigo.serving.dependencies import get_service, identify
from lentigo.serving.metrics import PREDICT
from lentigo.serving.openapi import PREDICT_PROBLEMS, predict_body, responses
from lentigo.serving.problems import Problem
from lentigo.serving.schemas import EXAMPLE, Options, PredictReply

_MOST_OPTIONS = 16


class DirectRoute(APIRoute):
    """A route of (request, options) without FastAPI's dependency solving.

    That would cost as much as the rest of a request.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read the options as FastAPI does, and call the endpoint."""
        endpoint = self.endpoint
        none_given = Options.model_validate({})

        async def handle(request: Request) -> Response:
            query = request.scope["query_string"]
            if query.count(b"&") > _MOST_OPTIONS:  # each unknown one costs as much as a small request, before any key
                raise Problem("invalid-options", f"more than {_MOST_OPTIONS} options")
            given = request.query_params.multi_items() if query else []
            if len(given) > len(dict(given)):  # others take the first of two, or the last
                raise Problem("invalid-options", "an option is given more than once")
            try:
                options = Options.model_validate(dict(given)) if given else none_given
            except ValidationError as error:
                raise invalid_options(error) from None
            answer: Response = await endpoint(request, options)
            return answer

        return handle


def invalid_options(error: RequestValidationError | ValidationError) -> Problem:
    """The problem that options which do not validate are; repeats nothing of them."""
    first = error.errors()[0]
    name = next((part for part in first["loc"] if part in Options.model_fields), str(first["loc"][-1])[:80])
    if first["type"] == "extra_forbidden":
        # Not the name itself: a key that was put into the address by mistake would come back, and land in a log.
        return Problem("invalid-options", f"unknown option{did_you_mean(name, Options.model_fields)}")
    return Problem("invalid-options", f"{name}: {first['msg'].removeprefix('Value error, ')}")


router = APIRouter(tags=["predict"], route_class=DirectRoute)


@router.post(
    PREDICT,
    summary="Classify one image, or several",
    response_model=PredictReply,
    responses={200: {"content": {"application/json": {"example": EXAMPLE}}}, **responses(*PREDICT_PROBLEMS)},
    openapi_extra=predict_body(),
    dependencies=[Depends(identify)],  # for the description; the service identifies the key itself
)
async def predict(request: Request, options: Annotated[Options, Query()]) -> Response:
    """The body is one encoded image, or multipart/form-data with one file an image.

    JPEG, PNG, WebP, BMP, TIFF and GIF are recognised by their content; names and declared types do not count.
    Of several images each is answered by itself: one that cannot be read has an `error` in the place of its answer.
    Fields called `lesion` name what the images show, one for each or one for all: `lesions` then holds one answer a
    lesion besides. Fields `age` (years), `sex` and `site`, likewise, are taken by models whose entry in `/v1/models`
    has them in `metadata`. Other form fields that are no files are left out.
    """
    service = await get_service(request)
    return await service.predict(request, options)
