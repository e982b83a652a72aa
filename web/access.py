"""Who may look: a token, the names this server goes by, and nothing from other pages.

A link with `?token=` is exchanged once for a cookie that scripts cannot read and other sites cannot send; programs send
`Authorization: Bearer`. The Host must be one of ours, so that a name that is pointed at 127.0.0.1 by somebody else gets
nothing (DNS rebinding); an Origin, where a browser names one, must be ours too. The headers let the page load and
connect to itself alone.
"""

import hmac
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

COOKIE: Final = "aftermath"
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def guarded(token: str, names: frozenset[str]) -> Middleware:
    """Every route behind the token. names: hosts without a port, lower case."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if _host(request.headers.get("Host", "")) not in names:
            raise _refused(403, "This server does not go by that name; see AFTERMATH_WEB_HOSTS.")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.headers["Host"].lower():
            raise _refused(403, "Not from another page.")
        given = request.query.get("token")
        if given is not None and request.method == "GET" and request.path == "/" and _equal(given, token):
            return _with_cookie(token)
        if not _has_token(request, token):
            raise _refused(401, "Open the link that `aftermath` printed: it holds the token of this run.")
        response = await handler(request)
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    return guard


def _host(header: str) -> str:
    return (urlsplit(f"//{header}").hostname or "").lower()


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _has_token(request: web.Request, token: str) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return _equal(request.cookies.get(COOKIE, ""), token) or (scheme == "Bearer" and _equal(given, token))


def _with_cookie(token: str) -> web.Response:
    response = web.Response(status=303, headers={**HEADERS, "Location": "/"})
    response.set_cookie(COOKIE, token, httponly=True, samesite="Strict", path="/")
    return response


def _refused(status: int, text: str) -> web.HTTPException:
    error = web.HTTPUnauthorized if status == 401 else web.HTTPForbidden
    return error(text=text, headers=HEADERS)
