"""Errors of ours as problem details (RFC 9457): a status for machines, the remedy in the text for people."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from actors.errors import ActorError
from gallery.errors import (
    GalleryAuthError,
    GalleryError,
    GalleryExistsError,
    GalleryFullError,
    GalleryServerError,
    UnknownCropError,
    UnknownGalleryError,
    UnknownIdentityError,
)
from models.errors import ModelError
from models.reid.text import TextEncoderMissingError

__all__ = ["MEDIA_TYPE", "install_problems", "problem"]

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UnknownGalleryError, 404),
    (UnknownIdentityError, 404),
    (UnknownCropError, 404),
    (GalleryExistsError, 409),
    (GalleryFullError, 409),
    (GalleryAuthError, 502),
    (GalleryServerError, 502),
    (TextEncoderMissingError, 501),
)


def install_problems(app: FastAPI) -> None:
    """Answer every error of the trees of gallery, models and actors, and bad requests, as problem+json."""

    def ours(_request: Request, error: Exception) -> JSONResponse:
        return problem(_status_of(error), type(error).__name__, str(error), bool(getattr(error, "retriable", False)))

    def invalid(_request: Request, error: Exception) -> JSONResponse:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        said = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in found)
        return problem(422, "InvalidRequest", f"{said or error}; /docs shows what each request takes")

    def http(_request: Request, error: Exception) -> JSONResponse:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = str(error.detail) if isinstance(error, HTTPException) else str(error)
        return problem(status, "HTTP", f"{detail}; /docs lists every path")

    for tree in (GalleryError, ModelError, ActorError):
        app.add_exception_handler(tree, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def problem(status: int, kind: str, detail: str, retriable: bool = False) -> JSONResponse:
    """One problem+json response; `retriable` also sets Retry-After."""
    return JSONResponse(
        {
            "type": f"urn:foveal:problem:{kind}",
            "title": kind,
            "status": status,
            "detail": detail,
            "retriable": retriable,
        },
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"Retry-After": str(RETRY_AFTER_S)} if retriable else None,
    )


def _status_of(error: Exception) -> int:
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    if getattr(error, "retriable", False):
        return 503
    return 422 if isinstance(error, ValueError) else 500
