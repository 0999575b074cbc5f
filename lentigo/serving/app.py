"""The ASGI application of one worker: routers, the phone app's files, and what surrounds every request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from lentigo import __version__
from lentigo.serving.config import ServeConfig
from lentigo.serving.middleware import RequestMiddleware
from lentigo.serving.openapi import DESCRIPTION, describe_problems
from lentigo.serving.problems import Problem
from lentigo.serving.routes import models, open_inference, predict, state
from lentigo.serving.service import Service
from lentigo.serving.static_files import AppFiles


def create_app(config: ServeConfig, service: Service | None = None) -> FastAPI:
    """The ASGI application of one worker.

    Args:
        config: the settings.
        service: what it serves; made from the settings where none is given.
    """
    served = service or Service(config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with served.running():
            await asyncio.to_thread(app.openapi)  # beside the loading of the models, not in the way of a request
            yield

    app = FastAPI(
        title="lentigo",
        version=__version__,
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = served
    for routes in (predict, models, state, open_inference):
        app.include_router(routes.router)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Problem, _refuse)  # within the CORS middleware, so that pages may read it
    app.router.default = AppFiles(config.static, served.bundles)
    describe_problems(app)
    if config.cors_origins:
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(config.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(RequestMiddleware, service=served)  # the last added is the outermost
    return app


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _refuse(request, predict.invalid_options(error))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = "GET, HEAD" if "GET" in (error.headers or {})["Allow"] else "POST"
        problem = Problem("method-not-allowed", "this address takes other methods", headers={"Allow": allowed})
    else:
        problem = Problem("not-found", "nothing is at this address; the API is described at /openapi.json")
    return await _refuse(request, problem)


async def _refuse(request: Request, error: Exception) -> Response:
    response: Response = await request.scope["lentigo.exchange"].refuse(error)
    return response
