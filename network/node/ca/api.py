"""fabric-ca's REST API: requests in, `{"result", "errors", "messages", "success"}` out.

Sources: fabric-ca `lib/serverendpoint.go` (the answer's frame), `swagger/swagger-fabric-ca.json`,
`lib/server*.go`. A caller who cannot be authenticated learns nothing but that; one who can learns
what it lacks. No request body, secret or attribute is logged.
"""

import base64
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from network.node.ca.authority import Authority, Enrollment
from network.rules.identity.enrollment import (
    AFFILIATION_MANAGER,
    GEN_CRL,
    Attribute,
    AttributeRequest,
    Code,
    EnrollmentRefused,
    Registration,
    registrations_below,
)

MAX_BODY = 1 << 20
VERSION = "medfabric"
log = logging.getLogger("medfabric.ca")

Body = dict[str, Any]
Handler = Callable[["Call"], Any]


class Call:
    """One request: its body, its caller once authenticated, and the authority it is for."""

    def __init__(self, authority: Authority, request: Request, raw: bytes) -> None:
        self.authority = authority
        self.request = request
        self.raw = raw

    @property
    def body(self) -> Body:
        """The JSON object in the body. Raises EnrollmentRefused."""
        if not self.raw:
            raise EnrollmentRefused(400, Code.EMPTY_BODY, "Empty request body")
        try:
            body = json.loads(self.raw)
        except (ValueError, RecursionError) as error:
            raise EnrollmentRefused(400, Code.BAD_BODY, "The request body is no JSON") from error
        if not isinstance(body, dict):
            raise EnrollmentRefused(400, Code.BAD_BODY, "The request body is no JSON object")
        return body

    def by_secret(self) -> Registration:
        """Return the caller of a Basic header."""
        return self.authority.authenticate_secret(self._authorization())

    def by_token(self, *, expired: bool = False) -> Registration:
        """Return the caller of a signed token; `expired` lets an expired certificate renew."""
        url = self.request.url
        uri = url.path + (f"?{url.query}" if url.query else "")
        return self.authority.authenticate_token(
            self._authorization(), self.request.method, uri, self.raw, allow_expired=expired
        )

    def _authorization(self) -> str:
        header = self.request.headers.get("authorization", "")
        if not header:
            raise EnrollmentRefused(401, Code.NO_AUTHORIZATION, "No authorization header")
        return header


# -- the endpoints -----------------------------------------------------------------------------


def cainfo(call: Call) -> Body:
    """The CA's name and certificate chain, for anyone."""
    if call.request.method == "POST" and call.raw:
        _validate_ca_name(call, call.body)
    return _ca_info(call.authority)


def enroll(call: Call) -> Body:
    """A first certificate for a name and its secret."""
    return _issue(call, call.by_secret())


def reenroll(call: Call) -> Body:
    """A new certificate for the holder of the current one."""
    return _issue(call, call.by_token(expired=call.authority.reenroll_expired))


def register(call: Call) -> Body:
    """A new identity; its secret is in the answer."""
    caller = call.by_token()
    body = call.body
    _validate_ca_name(call, body)
    registration = _registration(body, caller, id=_text(body, "id"))
    secret = call.authority.register(caller, registration, _text(body, "secret", "") or None)
    return {"secret": secret}


def revoke(call: Call) -> Body:
    """Certificates of an identity, or one by serial and AKI, revoked."""
    caller = call.by_token()
    body = call.body
    revoked = call.authority.revoke(
        caller,
        id=_text(body, "id", ""),
        serial=_text(body, "serial", ""),
        aki=_text(body, "aki", ""),
        reason=_text(body, "reason", ""),
    )
    answer: Body = {"RevokedCerts": [{"Serial": c.serial, "AKI": c.aki} for c in revoked]}
    answer["CRL"] = _base64(call.authority.build_crl()) if body.get("gencrl") and revoked else ""
    return answer


def gencrl(call: Call) -> Body:
    """The list of revoked, unexpired certificates, PEM in base64."""
    caller = call.by_token()
    body = call.body
    if not caller.holds(GEN_CRL):
        raise EnrollmentRefused(403, Code.AUTHORIZATION, f"'{caller.id}' lacks {GEN_CRL}")
    crl = call.authority.build_crl(
        revoked_after=_time(body, "revokedafter"),
        revoked_before=_time(body, "revokedbefore"),
        expire_after=_time(body, "expireafter"),
        expire_before=_time(body, "expirebefore"),
    )
    return {"CRL": _base64(crl)}


def list_identities(call: Call) -> Body:
    """The identities that the caller may see."""
    caller = call.by_token()
    visible = registrations_below(caller, call.authority.store.list_identities())
    return {"identities": [_identity(i) for i in visible], "caname": call.authority.name}


def get_identity(call: Call) -> Body:
    """One identity."""
    caller = call.by_token()
    identity = call.authority.visible_identity(caller, call.request.path_params["id"])
    return {**_identity(identity), "caname": call.authority.name}


def add_identity(call: Call) -> Body:
    """As register, answering with the identity."""
    caller = call.by_token()
    registration = _registration(call.body, caller, id=_text(call.body, "id"))
    secret = call.authority.register(caller, registration, _text(call.body, "secret", "") or None)
    return _stored(call, registration.id, secret)


def modify_identity(call: Call) -> Body:
    """Change type, affiliation, attributes, limit or secret of an identity."""
    caller = call.by_token()
    id_ = call.request.path_params["id"]
    known = call.authority.visible_identity(caller, id_)
    secret = _text(call.body, "secret", "") or None
    call.authority.modify(caller, _registration(call.body, caller, id=id_, known=known), secret)
    return _stored(call, id_, secret or "")


def remove_identity(call: Call) -> Body:
    """Forget an identity; its certificates are revoked first."""
    caller = call.by_token()
    identity = call.authority.visible_identity(caller, call.request.path_params["id"])
    call.authority.remove(caller, identity)
    return {**_identity(identity), "caname": call.authority.name}


def list_certificates(call: Call) -> Body:
    """The certificates of the identities that the caller may see."""
    caller = call.by_token()
    query = call.request.query_params
    visible = {i.id for i in registrations_below(caller, call.authority.store.list_identities())}
    issued = call.authority.store.list_certificates(query.get("id") or None)
    now = call.authority.now()
    return {
        "certs": [
            {"PEM": certificate.pem.decode()}
            for certificate in issued
            if certificate.id in visible
            and query.get("serial", certificate.serial) == certificate.serial
            and query.get("aki", certificate.aki) == certificate.aki
            and not (query.get("notexpired") == "true" and certificate.not_after < now)
            and not (query.get("notrevoked") == "true" and certificate.revoked_at)
        ],
        "caname": call.authority.name,
    }


def list_affiliations(call: Call) -> Body:
    """The affiliations at and below the caller's."""
    caller = call.by_token()
    names = [
        name
        for name in call.authority.store.list_affiliations()
        if not caller.affiliation or (name + ".").startswith(caller.affiliation + ".")
    ]
    return {
        "name": caller.affiliation,
        "affiliations": [{"name": name} for name in names],
        "caname": call.authority.name,
    }


def add_affiliation(call: Call) -> Body:
    """A new affiliation with its parents."""
    caller = call.by_token()
    if not caller.holds(AFFILIATION_MANAGER):
        raise EnrollmentRefused(
            403, Code.AUTHORIZATION, f"'{caller.id}' lacks {AFFILIATION_MANAGER}"
        )
    name = _text(call.body, "name")
    call.authority.store.add_affiliation(name)
    return {"name": name, "caname": call.authority.name}


# -- requests and answers ----------------------------------------------------------------------


def _issue(call: Call, identity: Registration) -> Body:
    body = call.body
    _validate_ca_name(call, body)
    requests = _list(body, "attr_reqs")
    pem = call.authority.issue(
        identity,
        Enrollment(
            csr_pem=_text(body, "certificate_request").encode(),
            profile=_text(body, "profile", ""),
            hosts=tuple(map(_host, _list(body, "hosts") or ())),
            attributes=None if requests is None else tuple(map(_attribute_request, requests)),
        ),
    )
    return {"Cert": _base64(pem), "ServerInfo": _ca_info(call.authority)}


def _ca_info(authority: Authority) -> Body:
    return {
        "CAName": authority.name,
        "CAChain": _base64(authority.chain_pem),
        "IssuerPublicKey": "",
        "IssuerRevocationPublicKey": "",
        "Version": VERSION,
    }


def _registration(
    body: Body,
    caller: Registration,
    *,
    id: str,
    known: Registration | None = None,
) -> Registration:
    default_type = known.type if known else caller.type
    default_affiliation = known.affiliation if known else caller.affiliation
    affiliation = _text(body, "affiliation", "") or default_affiliation
    attributes = _list(body, "attrs")
    limit = body.get("max_enrollments")
    if limit is not None and (not isinstance(limit, int) or not -1 <= limit < 1 << 31):
        raise EnrollmentRefused(
            400, Code.INVALID_MAX_ENROLLMENTS, "max_enrollments is -1 (no limit) or a count"
        )
    return Registration(
        id=id,
        type=_text(body, "type", "") or default_type,
        # "." asks for the root affiliation (fabric-ca lib/serverregister.go).
        affiliation="" if affiliation == "." else affiliation,
        attributes=tuple(map(_attribute, attributes))
        if attributes is not None
        else (known.attributes if known else ()),
        max_enrollments=limit or (known.max_enrollments if known else -1),
    )


def _attribute(entry: object) -> Attribute:
    if not isinstance(entry, dict) or not {"name", "value"} <= entry.keys():
        raise EnrollmentRefused(
            400, Code.BAD_BODY, "An attribute has a name and a value, both text"
        )
    return Attribute(_text(entry, "name"), _text(entry, "value"), bool(entry.get("ecert", False)))


def _attribute_request(entry: object) -> AttributeRequest:
    if not isinstance(entry, dict) or "name" not in entry:
        raise EnrollmentRefused(400, Code.BAD_BODY, "An attribute request has a name")
    return AttributeRequest(_text(entry, "name"), bool(entry.get("optional", False)))


def _identity(identity: Registration) -> Body:
    return {
        "id": identity.id,
        "type": identity.type,
        "affiliation": identity.affiliation,
        "attrs": [
            {"name": a.name, "value": a.value, **({"ecert": True} if a.ecert else {})}
            for a in identity.attributes
        ],
        "max_enrollments": identity.max_enrollments,
    }


def _stored(call: Call, id_: str, secret: str) -> Body:
    identity = call.authority.store.get_identity(id_)
    assert identity is not None
    return {**_identity(identity), "secret": secret, "caname": call.authority.name}


def _validate_ca_name(call: Call, body: Body) -> None:
    name = _text(body, "caname", "")
    if name and name != call.authority.name:
        raise EnrollmentRefused(404, Code.CA_NOT_FOUND, f"CA '{name}' does not exist")


def _text(body: Body, field: str, default: str | None = None) -> str:
    value = body.get(field, default)
    if value is None:
        raise EnrollmentRefused(400, Code.BAD_BODY, f"The request lacks '{field}'")
    if not isinstance(value, str):
        raise EnrollmentRefused(400, Code.BAD_BODY, f"'{field}' must be text")
    try:
        value.encode()
    except UnicodeEncodeError:
        # JSON can write half a surrogate pair, which nothing else can.
        raise EnrollmentRefused(400, Code.BAD_BODY, f"'{field}' is no Unicode text") from None
    return value


def _list(body: Body, field: str) -> list[object] | None:
    value = body.get(field)
    if value is not None and not isinstance(value, list):
        raise EnrollmentRefused(400, Code.BAD_BODY, f"'{field}' must be a list")
    return value


def _host(entry: object) -> str:
    return _text({"hosts": entry}, "hosts")


def _time(body: Body, field: str) -> datetime | None:
    text = _text(body, field, "")
    # Go sends its zero time for a bound that was not given.
    if not text or text.startswith("0001-01-01"):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise EnrollmentRefused(400, Code.BAD_BODY, f"'{field}' is no RFC 3339 time") from error
    if moment.tzinfo is None:
        raise EnrollmentRefused(400, Code.BAD_BODY, f"'{field}' lacks a time zone")
    return moment


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# -- the frame ---------------------------------------------------------------------------------


def _endpoint(
    authority: Authority, handlers: dict[str, Handler], success: int
) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        try:
            if method not in handlers:
                raise EnrollmentRefused(
                    405, Code.METHOD_NOT_ALLOWED, f"Method {request.method} is not allowed"
                )
            call = Call(authority, request, await _read(request))
            # Checking a secret and signing take milliseconds: off the event loop.
            result = await run_in_threadpool(handlers[method], call)
        except EnrollmentRefused as refusal:
            log.info("%s %s %d %d", request.method, request.url.path, refusal.status, refusal.code)
            return _answer(refusal.status, "", refusal)
        except Exception:
            # Whatever a request provokes, the CA answers and stays up.
            log.exception("%s %s 500", request.method, request.url.path)
            fault = EnrollmentRefused(500, Code.UNKNOWN, "The CA failed; its log says why")
            return _answer(500, "", fault)
        status = success if method == "POST" else 200
        log.info("%s %s %d", request.method, request.url.path, status)
        return _answer(status, result, None)

    return serve


async def _read(request: Request) -> bytes:
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_BODY:
            raise EnrollmentRefused(413, Code.BAD_BODY, "The request body is larger than 1 MiB")
    return raw


def _answer(status: int, result: object, refusal: EnrollmentRefused | None) -> Response:
    errors = [{"code": int(refusal.code), "message": refusal.reason}] if refusal else []
    frame = {"result": result, "errors": errors, "messages": [], "success": refusal is None}
    return Response(json.dumps(frame), status, media_type="application/json")


_ENDPOINTS: tuple[tuple[str, dict[str, Handler], int], ...] = (
    ("cainfo", {"GET": cainfo, "POST": cainfo}, 200),
    ("enroll", {"POST": enroll}, 201),
    ("reenroll", {"POST": reenroll}, 201),
    ("register", {"POST": register}, 201),
    ("revoke", {"POST": revoke}, 200),
    ("gencrl", {"POST": gencrl}, 200),
    ("identities", {"GET": list_identities, "POST": add_identity}, 201),
    (
        "identities/{id:path}",
        {"GET": get_identity, "PUT": modify_identity, "DELETE": remove_identity},
        200,
    ),
    ("certificates", {"GET": list_certificates}, 200),
    ("affiliations", {"GET": list_affiliations, "POST": add_affiliation}, 201),
)


def build_api(authority: Authority) -> Starlette:
    """Return the REST application; paths with and without fabric-ca's `/api/v1` prefix."""
    methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]
    return Starlette(
        routes=[
            Route(f"{prefix}/{path}", _endpoint(authority, handlers, success), methods=methods)
            for prefix in ("/api/v1", "")
            for path, handlers, success in _ENDPOINTS
        ]
    )
