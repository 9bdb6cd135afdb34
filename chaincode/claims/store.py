"""Where claims lie in the state: tables, indexes by party, fingerprints, private values.

No key is hot: a claim, a fingerprint and a registration have a key each, and an index entry belongs
to one claim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

from chaincode import canonical
from chaincode.claims.checks.context import Seen
from chaincode.claims.model import (
    AccumulatorVersion,
    Claim,
    Duplicate,
    Filing,
    Fingerprints,
    Reexamination,
    Registration,
    Sightings,
    Step,
    TableVersion,
)
from chaincode.contract import Context
from chaincode.errors import Conflict, InvalidArgument
from chaincode.table import Index, Table, time_part

T = TypeVar("T")

CLAIMS = Table("claim", Claim)
STEPS = Table("claim~step", Step)
REGISTRATIONS = Table("claim~registration", Registration)
TABLES = Table("claim~table", TableVersion)
ACCUMULATORS = Table("claim~accumulator", AccumulatorVersion)
SIGHTINGS = Table("claim~fingerprint", Sightings)

BY_PARTY = Index("claim~byparty")
BY_STATUS = Index("claim~bystatus")
LATER = Index("claim~later")
REEXAMINATIONS = Table("claim~reexamine", Reexamination)

DETAILS, DECISION = "details", "decision"
PRIVATE = "claim~private"
_STAGED = "claim~staged"
_FACT = "claim~fact"
MAX_SIGHTINGS = 32
"""Claims remembered for a fingerprint; the oldest stay, for they are what is repeated."""


def private_key(ctx: Context, claim: str, kind: str, version: int) -> str:
    """The key of a private value: it belongs to the step that led to this version."""
    return ctx.stub.create_composite_key(PRIVATE, [claim, kind, f"{version:06d}"])


def fact_key(ctx: Context, kind: str, handle: str) -> str:
    """The key of a fact that a payer keeps in its own collection."""
    return ctx.stub.create_composite_key(_FACT, [kind, handle])


async def put_private(
    ctx: Context, collection: str, value: object, claim: str, kind: str, version: int
) -> None:
    """The collection holds the value once the transaction is valid."""
    key = private_key(ctx, claim, kind, version)
    await ctx.stub.put_private_data(collection, key, canonical.encode(value))


async def get_private(
    ctx: Context, kind_of: type[T], collection: str, claim: str, kind: str, version: int
) -> T | None:
    """The private value, None if there is none here."""
    raw = await ctx.stub.get_private_data(collection, private_key(ctx, claim, kind, version))
    return None if raw is None else canonical.decode(kind_of, raw)


async def put_staged(
    ctx: Context, collection: str, value: object, claim: str, kind: str, version: int
) -> None:
    """The public part of a staged step is on the ledger by hash."""
    key = ctx.stub.create_composite_key(_STAGED, [claim, kind, f"{version:06d}"])
    await ctx.stub.put_private_data(collection, key, canonical.encode(value))


async def validate_staged(
    ctx: Context, collection: str, value: object, claim: str, kind: str, version: int
) -> None:
    """Raise Conflict unless exactly this was staged; every peer knows the hash."""
    key = ctx.stub.create_composite_key(_STAGED, [claim, kind, f"{version:06d}"])
    held = await ctx.stub.get_private_data_hash(collection, key)
    if held is None:
        raise Conflict("nothing is staged for this claim and version; stage it first")
    if held != hashlib.sha256(canonical.encode(value)).digest():
        raise Conflict("this is not what was staged; hand over the staged value as it came")


async def get_claims(ctx: Context, handles: Sequence[str]) -> dict[str, Claim]:
    """The claims that there are of these, by handle; all in one request to the peer."""
    keys = [CLAIMS.key(ctx, handle) for handle in handles]
    found = await ctx.stub.get_multiple_states(*keys) if keys else []
    return {
        handle: CLAIMS.open(raw)
        for handle, raw in zip(handles, found, strict=True)
        if raw is not None
    }


async def list_claim(ctx: Context, claim: Claim, before: Claim | None) -> None:
    """The claim is listed under its parties and its status, and no longer under the old one."""
    at = time_part(claim.submitted_at)
    for party in sorted({claim.submitter, claim.provider, claim.payer} - {""}):
        if before is None:
            await BY_PARTY.put(ctx, party, at, claim.claim)
        elif before.status is claim.status:
            continue
        else:
            await BY_STATUS.delete(ctx, party, before.status.value, at, claim.claim)
        await BY_STATUS.put(ctx, party, claim.status.value, at, claim.claim)


class FingerprintBook:
    """The fingerprints of live claims, with those of this transaction's own claims.

    A peer does not read back what a transaction wrote, so a bulk submission that holds a duplicate
    of itself is only seen here. `save` writes what changed, each key once.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._held: dict[bytes, list[Duplicate]] = {}
        self._changed: dict[bytes, None] = {}

    async def prefetch(self, values: Iterable[bytes]) -> None:
        """These fingerprints are read, all in one request to the peer."""
        wanted = [value for value in dict.fromkeys(values) if value not in self._held]
        keys = [SIGHTINGS.key(self._ctx, value.hex()) for value in wanted]
        found = await self._ctx.stub.get_multiple_states(*keys) if keys else []
        for value, raw in zip(wanted, found, strict=True):
            self._held[value] = [] if raw is None else list(SIGHTINGS.open(raw).claims)

    async def seen(self, filing: Filing, fingerprints: Fingerprints) -> tuple[Seen, ...]:
        """The other live claims that share a fingerprint with this one."""
        found = []
        await self.prefetch((fingerprints.claim, *fingerprints.lines))
        for line, value in enumerate((fingerprints.claim, *fingerprints.lines)):
            for other in await self._of(value):
                if other.claim != filing.claim:
                    found.append(Seen(other.claim, other.payer, line))
        return tuple(dict.fromkeys(found))

    async def add(self, claim: Claim) -> None:
        """The claim is live."""
        for value in _distinct(claim.fingerprints):
            held = await self._of(value)
            if len(held) < MAX_SIGHTINGS:
                held.append(Duplicate(claim.claim, claim.payer))
                self._changed[value] = None

    async def remove(self, claim: Claim) -> None:
        """The claim is void or replaced and no longer counts."""
        for value in _distinct(claim.fingerprints):
            held = await self._of(value)
            held[:] = [other for other in held if other.claim != claim.claim]
            self._changed[value] = None

    async def save(self) -> None:
        """The changes are written."""
        for value in self._changed:
            key = SIGHTINGS.key(self._ctx, value.hex())
            held = tuple(self._held[value])
            if held:
                await self._ctx.stub.put_state(key, canonical.encode(Sightings(held)))
            else:
                await self._ctx.stub.del_state(key)

    async def _of(self, value: bytes) -> list[Duplicate]:
        if value not in self._held:
            found = await SIGHTINGS.get(self._ctx, value.hex())
            self._held[value] = list(found.claims) if found else []
        return self._held[value]


def read_transient(ctx: Context, field: str) -> bytes:
    """The transient field. Raises InvalidArgument, naming it, if it is missing."""
    value = ctx.transient.get(field)
    if not value:
        raise InvalidArgument(f"the transient field {field} is missing")
    return value


def _distinct(fingerprints: Fingerprints) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys((fingerprints.claim, *fingerprints.lines)))
