"""Who may call a transaction, declared beside it and composed with `|` and `&`.

    @transaction(access=role("patient") | (role("clinician") & attribute("btg", "true")))

A rule looks at the caller's certificate, and if it must, at the arguments and the ledger (`rule`).
A refusal says what is missing, for the client's eyes: `attribute role=clinician is missing`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from chaincode.context import Context

Arguments = Mapping[str, Any]
Decide = Callable[[Context, Arguments], Awaitable[bool | str | None]]


class Access:
    """A rule: `evaluate` answers None if the caller may pass, else what is missing."""

    description: str = ""
    """Words for the metadata and for people: `role=patient or delegate of the patient`."""

    async def evaluate(self, ctx: Context, arguments: Arguments) -> str | None:
        """None, or what is missing. `arguments` are the decoded parameters by name."""
        raise NotImplementedError

    def __or__(self, other: Access) -> Access:
        return _Any((*_members(self, _Any), *_members(other, _Any)))

    def __and__(self, other: Access) -> Access:
        return _All((*_members(self, _All), *_members(other, _All)))

    def __repr__(self) -> str:
        return f"<Access {self.description}>"


def anyone() -> Access:
    """Every member of the channel whom the channel's own policies let transact."""
    return _Certificate("anyone", lambda ctx: True)


def nobody() -> Access:
    """No one: the transaction exists, but is switched off."""
    return _Certificate("nobody", lambda ctx: False, missing="the transaction is switched off")


def attribute(name: str, *values: str) -> Access:
    """Callers whose certificate has the attribute, with one of these values if any are given."""
    if not values:
        wanted = f"attribute {name}"
        return _Certificate(wanted, lambda ctx: ctx.client.get_attribute(name) is not None)
    wanted = f"attribute {name}={'|'.join(values)}"
    return _Certificate(wanted, lambda ctx: ctx.client.get_attribute(name) in values)


def role(*names: str) -> Access:
    """Callers whose certificate attribute `role` is one of these."""
    return attribute("role", *names)


def ou(*names: str) -> Access:
    """Callers whose certificate has one of these organisational units (`admin`, `client`, …)."""
    wanted = f"organisational unit {'|'.join(names)}"
    return _Certificate(wanted, lambda ctx: any(ctx.client.has_ou(name) for name in names))


def msp(*msp_ids: str) -> Access:
    """Callers of one of these organisations."""
    wanted = f"membership of {'|'.join(msp_ids)}"
    return _Certificate(wanted, lambda ctx: ctx.client.msp_id in msp_ids)


def rule(description: str, decide: Decide) -> Access:
    """A rule of one's own, which may read the ledger.

    `decide(ctx, arguments)` answers True or None to let pass, False or a text (what is missing)
    to refuse.
    """
    return _Custom(description, decide)


class _Certificate(Access):
    def __init__(
        self, description: str, holds: Callable[[Context], bool], *, missing: str = ""
    ) -> None:
        self.description = description
        self._holds = holds
        self._missing = missing or f"{description} is missing"

    async def evaluate(self, ctx: Context, arguments: Arguments) -> str | None:
        return None if self._holds(ctx) else self._missing


class _Custom(Access):
    def __init__(self, description: str, decide: Decide) -> None:
        self.description = description
        self._decide = decide

    async def evaluate(self, ctx: Context, arguments: Arguments) -> str | None:
        verdict = await self._decide(ctx, arguments)
        if verdict is True or verdict is None:
            return None
        return verdict or f"not {self.description}"


class _Any(Access):
    def __init__(self, members: tuple[Access, ...]) -> None:
        self.members = members
        self.description = " or ".join(member.description for member in members)

    async def evaluate(self, ctx: Context, arguments: Arguments) -> str | None:
        missing = []
        for member in self.members:
            verdict = await member.evaluate(ctx, arguments)
            if verdict is None:
                return None
            missing.append(verdict)
        return "; or ".join(missing)


class _All(Access):
    def __init__(self, members: tuple[Access, ...]) -> None:
        self.members = members
        self.description = " and ".join(
            f"({member.description})" if isinstance(member, _Any) else member.description
            for member in members
        )

    async def evaluate(self, ctx: Context, arguments: Arguments) -> str | None:
        for member in self.members:
            verdict = await member.evaluate(ctx, arguments)
            if verdict is not None:
                return verdict
        return None


def _members(access: Access, kind: type[_Any] | type[_All]) -> tuple[Access, ...]:
    return access.members if isinstance(access, kind) else (access,)
