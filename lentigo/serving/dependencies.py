"""What the routes ask for: the service of their application, and the key that a request carries."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer

from lentigo.serving.auth import Key
from lentigo.serving.service import Service

_BEARER = HTTPBearer(scheme_name="bearer", description="Needed only where the service has keys.", auto_error=False)
_HEADER = APIKeyHeader(name="X-API-Key", scheme_name="apiKey", auto_error=False)


async def get_service(request: Request) -> Service:
    """The service of this worker."""
    return cast("Service", request.app.state.service)


async def identify(
    request: Request,
    service: Annotated[Service, Depends(get_service)],
    _bearer: Annotated[Any, Depends(_BEARER)],  # for the description; the keyring reads the headers itself
    _header: Annotated[Any, Depends(_HEADER)],
) -> Key | None:
    """The key of a request; None where the service is open.

    Raises:
        Problem: no key, or an unknown one.
    """
    return service.keys.identify(request.scope["headers"])


ServiceDependency = Annotated[Service, Depends(get_service)]
KeyDependency = Annotated[Key | None, Depends(identify)]
