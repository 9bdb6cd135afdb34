"""Policies as people write them: ``OutOf(2, 'A.peer', AND('B.member', 'C.admin'))``.

The language of Fabric `common/policydsl/policyparser.go` (gates AND, OR, OutOf in any of the three
spellings it knows; principals 'MSP.role') and of `common/policies/implicitmetaparser.go`
("MAJORITY Admins"). As in Fabric, principals are not de-duplicated: one entry per mention.
"""

import re
from dataclasses import dataclass

from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2
from google.protobuf.message import DecodeError

from network.rules.identity.principals import role_principal

_ROLE = msp_principal_pb2.MSPRole
_KIND = msp_principal_pb2.MSPPrincipal
_RULE = policies_pb2.ImplicitMetaPolicy

ROLES = {
    "admin": _ROLE.ADMIN,
    "member": _ROLE.MEMBER,
    "client": _ROLE.CLIENT,
    "peer": _ROLE.PEER,
    "orderer": _ROLE.ORDERER,
}
# What may stand before the role: Fabric's [[:alnum:].-]+, so no underscore.
MSP_ID_IN_POLICY = re.compile(r"[A-Za-z0-9.-]+")
_PRINCIPAL = re.compile(rf"({MSP_ID_IN_POLICY.pattern})\.({'|'.join(ROLES)})")
_GATES = {
    spelling: gate
    for gate, spellings in {
        "and": ("And", "and", "AND"),
        "or": ("Or", "or", "OR"),
        "outof": ("OutOf", "outof", "OUTOF"),
    }.items()
    for spelling in spellings
}
_TOKEN = re.compile(r"\s*(?:([A-Za-z_]\w*)|(\d+)|'([^']*)'|\"([^\"]*)\"|([(),]))")
_IMPLICIT = re.compile(r"(ANY|ALL|MAJORITY) (\S+)")
_MAX_DEPTH = 64


class InvalidPolicyText(ValueError):
    """The text is no policy. ``position`` is the offset of the first offending character."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(f"{reason} (at character {position + 1})")
        self.reason = reason
        self.position = position


def parse_policy(text: str) -> policies_pb2.SignaturePolicyEnvelope:
    """Return the signature policy that the text describes; raises `InvalidPolicyText`."""
    return _Parser(text).parse()


def parse_implicit_policy(text: str) -> policies_pb2.ImplicitMetaPolicy:
    """Return the implicit meta policy "ANY|ALL|MAJORITY <name>"; raises `InvalidPolicyText`."""
    match = _IMPLICIT.fullmatch(text.strip())
    if match is None:
        raise InvalidPolicyText("expected ANY, ALL or MAJORITY and the name of a policy", 0)
    return _RULE(rule=_RULE.Rule.Value(match.group(1)), sub_policy=match.group(2))


def parse_config_policy(text: str) -> policies_pb2.Policy:
    """Return the channel policy of either kind, told apart by its first word."""
    if re.match(r"\s*(ANY|ALL|MAJORITY)\b(?!\s*\()", text):
        kind, policy = policies_pb2.Policy.IMPLICIT_META, parse_implicit_policy(text)
    else:
        kind, policy = policies_pb2.Policy.SIGNATURE, parse_policy(text)
    return policies_pb2.Policy(type=kind, value=policy.SerializeToString())


def format_policy(envelope: policies_pb2.SignaturePolicyEnvelope) -> str:
    """Return text for people; for role principals `parse_policy` reads it back."""
    return _format_rule(envelope.rule, envelope.identities)


def format_config_policy(policy: policies_pb2.Policy) -> str:
    """Return the text of a channel policy of either kind."""
    try:
        if policy.type == policies_pb2.Policy.IMPLICIT_META:
            implicit = _RULE.FromString(policy.value)
            return f"{_RULE.Rule.Name(implicit.rule)} {implicit.sub_policy}"
        if policy.type == policies_pb2.Policy.SIGNATURE:
            return format_policy(policies_pb2.SignaturePolicyEnvelope.FromString(policy.value))
    except (DecodeError, ValueError):
        pass
    return f"policy of type {policy.type}"


def format_principal(principal: msp_principal_pb2.MSPPrincipal) -> str:
    """Return 'MSP.role' for a role principal and a readable text for the others."""
    kind, value = principal.principal_classification, principal.principal
    try:
        if kind == _KIND.ROLE:
            role = _ROLE.FromString(value)
            return f"{role.msp_identifier}.{_ROLE.MSPRoleType.Name(role.role).lower()}"
        if kind == _KIND.ORGANIZATION_UNIT:
            unit = msp_principal_pb2.OrganizationUnit.FromString(value)
            return f"{unit.msp_identifier} OU={unit.organizational_unit_identifier}"
    except (DecodeError, ValueError):
        pass
    return f"{_KIND.Classification.Name(kind).lower()} principal" if kind < 5 else "principal"


def signed_by(index: int) -> policies_pb2.SignaturePolicy:
    """Return the rule "signed by principal number ``index``"."""
    return policies_pb2.SignaturePolicy(signed_by=index)


def out_of(count: int, rules: list[policies_pb2.SignaturePolicy]) -> policies_pb2.SignaturePolicy:
    """Return the rule "at least ``count`` of these"."""
    gate = policies_pb2.SignaturePolicy.NOutOf(n=count, rules=rules)
    return policies_pb2.SignaturePolicy(n_out_of=gate)


def n_of_members(count: int, msp_ids: list[str]) -> policies_pb2.SignaturePolicyEnvelope:
    """Return "a member of ``count`` of these MSPs" (policydsl_builder.go, SignedByNOutOfGivenRole).

    Fabric sorts the MSP ids before it numbers them.
    """
    ordered = sorted(msp_ids)
    return policies_pb2.SignaturePolicyEnvelope(
        rule=out_of(count, [signed_by(index) for index in range(len(ordered))]),
        identities=[role_principal(msp_id, _ROLE.MEMBER) for msp_id in ordered],
    )


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # "name", "number", "text", "sign" or "end"
    value: str
    position: int


class _Parser:
    """Recursive descent; principals are numbered in order of appearance."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokenize(text)
        self._next = 0
        self._principals: list[msp_principal_pb2.MSPPrincipal] = []

    def parse(self) -> policies_pb2.SignaturePolicyEnvelope:
        start = self._peek()
        if start.kind == "text":
            raise InvalidPolicyText(
                "a policy starts with AND, OR or OutOf, for example OR('Org1MSP.member')",
                start.position,
            )
        rule = self._gate(depth=0)
        rest = self._peek()
        if rest.kind != "end":
            raise InvalidPolicyText(
                f"nothing may follow the policy, but there is {rest.value!r}", rest.position
            )
        return policies_pb2.SignaturePolicyEnvelope(
            version=0, rule=rule, identities=self._principals
        )

    def _gate(self, depth: int) -> policies_pb2.SignaturePolicy:
        token = self._take()
        gate = _GATES.get(token.value) if token.kind == "name" else None
        if gate is None:
            found = repr(token.value) if token.kind != "end" else "the end of the text"
            raise InvalidPolicyText(f"expected AND, OR or OutOf, found {found}", token.position)
        if depth > _MAX_DEPTH:
            raise InvalidPolicyText("the policy is nested too deeply", token.position)
        self._expect("(")
        count: int | None = None
        if gate == "outof":
            count = self._count()
            self._expect(",")
        rules = self._rules(depth)
        if count is None:
            count = len(rules) if gate == "and" else 1
        if count > len(rules) + 1:
            # Fabric lets n + 1 pass ("t-out-of-n predicate"), a policy that nobody can satisfy.
            raise InvalidPolicyText(
                f"invalid t-out-of-n predicate, t {count}, n {len(rules)}", token.position
            )
        return out_of(count, rules)

    def _rules(self, depth: int) -> list[policies_pb2.SignaturePolicy]:
        rules = []
        while True:
            if self._peek().kind == "text":
                rules.append(self._principal())
            else:
                rules.append(self._gate(depth + 1))
            token = self._take()
            if token.value == ")" and token.kind == "sign":
                return rules
            if token.value != "," or token.kind != "sign":
                found = repr(token.value) if token.kind != "end" else "the end of the text"
                raise InvalidPolicyText(f"expected ',' or ')', found {found}", token.position)

    def _principal(self) -> policies_pb2.SignaturePolicy:
        token = self._take()
        match = _PRINCIPAL.fullmatch(token.value)
        if match is None:
            raise InvalidPolicyText(
                f"error parsing principal {token.value}: expected 'MSPID.role' with a role of "
                f"{', '.join(ROLES)}; MSP ids have letters, digits, '.' and '-' only",
                token.position,
            )
        self._principals.append(role_principal(match.group(1), ROLES[match.group(2)]))
        return signed_by(len(self._principals) - 1)

    def _count(self) -> int:
        token = self._take()
        if token.kind not in ("number", "text") or not token.value.isdecimal():
            raise InvalidPolicyText(
                "OutOf starts with how many are needed, for example OutOf(2, …)", token.position
            )
        if len(token.value) > 9:
            raise InvalidPolicyText("the number is too large", token.position)
        return int(token.value)

    def _expect(self, sign: str) -> None:
        token = self._take()
        if token.kind != "sign" or token.value != sign:
            found = repr(token.value) if token.kind != "end" else "the end of the text"
            raise InvalidPolicyText(f"expected {sign!r}, found {found}", token.position)

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        if token.kind != "end":
            self._next += 1
        return token


def _tokenize(text: str) -> list[_Token]:
    tokens, position = [], 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            position += len(text[position:]) - len(text[position:].lstrip())
            quote = text[position] in "'\""
            reason = "the quote is never closed" if quote else f"unexpected {text[position]!r}"
            raise InvalidPolicyText(reason, position)
        name, number, single, double, sign = match.groups()
        start = match.start(match.lastindex or 0)
        if name is not None:
            tokens.append(_Token("name", name, start))
        elif number is not None:
            tokens.append(_Token("number", number, start))
        elif sign is not None:
            tokens.append(_Token("sign", sign, start))
        else:
            text_token = single if single is not None else double
            tokens.append(_Token("text", text_token, start - 1))  # at the quote
        position = match.end()
    tokens.append(_Token("end", "", len(text)))
    return tokens


def _format_rule(
    rule: policies_pb2.SignaturePolicy, identities: list[msp_principal_pb2.MSPPrincipal]
) -> str:
    if rule.WhichOneof("Type") == "signed_by":
        if 0 <= rule.signed_by < len(identities):
            return f"'{format_principal(identities[rule.signed_by])}'"
        return f"'principal {rule.signed_by}'"
    count = rule.n_out_of.n
    parts = [_format_rule(part, identities) for part in rule.n_out_of.rules]
    if parts and count == 1:
        return f"OR({', '.join(parts)})"
    if parts and count == len(parts):
        return f"AND({', '.join(parts)})"
    return f"OutOf({', '.join([str(count), *parts])})"
