"""Policies: whether a set of signatures is enough.

Signature policies are evaluated greedily exactly as Fabric does (`common/cauthdsl/cauthdsl.go`),
implicit meta policies count their children (`common/policies/implicitmeta.go`). A satisfiable set
of signatures can fail for its order: that is Fabric's verdict, and so it is ours.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2

from network.rules.envelope import SignedData
from network.rules.identity.identity import Identity, IdentityError, verify_signature
from network.rules.identity.msp import MspManager
from network.rules.policy.dsl import format_policy, out_of

_Evaluator = Callable[[Sequence[Identity], list[bool]], bool]
_MAX_DEPTH = 256


class MalformedPolicy(ValueError):
    """The policy itself cannot be evaluated; the text is Fabric's."""


class PolicyUnsatisfied(Exception):
    """The signatures do not satisfy the policy. ``text`` is Fabric's message.

    What was needed and what was given is worded only when somebody asks: failing policies are
    part of ordinary evaluation.
    """

    def __init__(
        self, text: str, policy: "Policy | None" = None, identities: Sequence[Identity] = ()
    ) -> None:
        super().__init__(text)
        self.text = text
        self._policy = policy
        self._identities = tuple(identities)

    @property
    def needed(self) -> str:
        """What the policy asks for, for people; "" when unknown."""
        return self._policy.needed if self._policy is not None else ""

    @property
    def given(self) -> tuple[str, ...]:
        """Who signed validly, as "MSP id/common name"."""
        return name_identities(self._identities)


class Policy(Protocol):
    """Something that a set of signatures satisfies or not."""

    @property
    def needed(self) -> str:
        """What the policy asks for, for people."""
        ...

    def evaluate(self, signed: Sequence[SignedData]) -> None:
        """Return when the signatures satisfy the policy; raises `PolicyUnsatisfied`."""
        ...

    def evaluate_identities(self, identities: Sequence[Identity]) -> None:
        """Same for identities whose signatures are verified and that are distinct."""
        ...

    def check_identities(self, identities: Sequence[Identity]) -> bool:
        """Tell the same as a verdict."""
        ...

    def to_envelope(self) -> policies_pb2.SignaturePolicyEnvelope:
        """Return an equivalent signature policy; raises `MalformedPolicy` when there is none."""
        ...


def signature_set_to_valid_identities(
    signed: Sequence[SignedData], msps: MspManager
) -> list[Identity]:
    """Return the distinct identities with a right signature, in order.

    `common/policies/policy.go` fn SignatureSetToValidIdentities: unreadable identities and wrong
    signatures are passed over; duplicates are dropped before their signature is looked at; whether
    the certificate is valid is left to the principals.
    """
    seen: set[tuple[str, bytes]] = set()
    identities = []
    for entry in signed:
        try:
            identity = msps.identity(entry.identity)
            if identity.key in seen:
                continue
            verify_signature(identity, entry.data, entry.signature)
        except IdentityError:
            continue
        seen.add(identity.key)
        identities.append(identity)
    return identities


def compile_signature_policy(
    envelope: policies_pb2.SignaturePolicyEnvelope, msps: MspManager
) -> "SignaturePolicy":
    """Return the policy ready for evaluation; raises `MalformedPolicy`."""
    return SignaturePolicy(envelope, msps)


class SignaturePolicy:
    """A compiled SignaturePolicyEnvelope."""

    def __init__(self, envelope: policies_pb2.SignaturePolicyEnvelope, msps: MspManager) -> None:
        self.envelope = envelope
        self._msps = msps
        self._evaluator = _compile(envelope.rule, list(envelope.identities), msps)

    @property
    def needed(self) -> str:
        """The policy as text."""
        return format_policy(self.envelope)

    def evaluate(self, signed: Sequence[SignedData]) -> None:
        """Return when the signatures satisfy the policy; raises `PolicyUnsatisfied`."""
        self.evaluate_identities(signature_set_to_valid_identities(signed, self._msps))

    def evaluate_identities(self, identities: Sequence[Identity]) -> None:
        """Return when these identities satisfy the policy; raises `PolicyUnsatisfied`."""
        if not self.check_identities(identities):
            raise PolicyUnsatisfied("signature set did not satisfy policy", self, identities)

    def check_identities(self, identities: Sequence[Identity]) -> bool:
        """Tell whether these identities, in this order, satisfy the policy."""
        return self._evaluator(identities, [False] * len(identities))

    def to_envelope(self) -> policies_pb2.SignaturePolicyEnvelope:
        """Return the envelope this was compiled from."""
        return self.envelope


class ImplicitMetaPolicy:
    """A count over the children groups' policies of one name."""

    def __init__(
        self,
        definition: policies_pb2.ImplicitMetaPolicy,
        children: Mapping[str, Policy],
        msps: MspManager,
    ) -> None:
        self.sub_policy: str = definition.sub_policy
        self._rule = policies_pb2.ImplicitMetaPolicy.Rule.Name(definition.rule)
        self.children: Mapping[str, Policy] = dict(sorted(children.items()))
        self._msps = msps
        count = len(children)
        # No children: nothing is needed, whatever the rule.
        self.threshold = min(
            count, {"ANY": 1, "ALL": count, "MAJORITY": count // 2 + 1}[self._rule]
        )

    @property
    def needed(self) -> str:
        """The rule and what each child asks for."""
        children = "; ".join(f"{name}: {child.needed}" for name, child in self.children.items())
        return f"{self._rule} {self.sub_policy} ({self.threshold} of {children})"

    def evaluate(self, signed: Sequence[SignedData]) -> None:
        """Return when the signatures satisfy the policy; raises `PolicyUnsatisfied`."""
        # Fabric verifies the set anew for every child; the set of valid identities is the same.
        self.evaluate_identities(signature_set_to_valid_identities(signed, self._msps))

    def evaluate_identities(self, identities: Sequence[Identity]) -> None:
        """Return when these identities satisfy enough children, each judging all of them.

        Raises `PolicyUnsatisfied`.
        """
        satisfied = self._count_satisfied(identities)
        if satisfied < self.threshold:
            raise PolicyUnsatisfied(
                f"implicit policy evaluation failed - {satisfied} sub-policies were satisfied, "
                f"but this policy requires {self.threshold} of the '{self.sub_policy}' "
                "sub-policies to be satisfied",
                self,
                identities,
            )

    def check_identities(self, identities: Sequence[Identity]) -> bool:
        """Tell whether enough children are satisfied."""
        return self._count_satisfied(identities) >= self.threshold

    def _count_satisfied(self, identities: Sequence[Identity]) -> int:
        satisfied = 0
        for child in self.children.values():
            if satisfied >= self.threshold:
                break
            satisfied += child.check_identities(identities)
        return satisfied

    def to_envelope(self) -> policies_pb2.SignaturePolicyEnvelope:
        """Return the equivalent signature policy, principals de-duplicated
        (`common/policies/convert.go`)."""
        identities: list[msp_principal_pb2.MSPPrincipal] = []
        rules = []
        for child in self.children.values():
            envelope = child.to_envelope()
            places = []
            for principal in envelope.identities:
                if principal not in identities:
                    identities.append(principal)
                places.append(identities.index(principal))
            rules.append(_renumber(envelope.rule, places))
        return policies_pb2.SignaturePolicyEnvelope(
            version=0, rule=out_of(self.threshold, rules), identities=identities
        )


class RejectingPolicy:
    """What a manager answers for a name it does not know: nobody satisfies it."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def needed(self) -> str:
        """A sentence saying that the policy does not exist."""
        return f"the policy '{self.name}', which does not exist"

    def evaluate(self, signed: Sequence[SignedData]) -> None:
        """Always raises `PolicyUnsatisfied`."""
        del signed
        self.evaluate_identities(())

    def evaluate_identities(self, identities: Sequence[Identity]) -> None:
        """Always raises `PolicyUnsatisfied`."""
        raise PolicyUnsatisfied(f"no such policy: '{self.name}'", self, identities)

    def check_identities(self, identities: Sequence[Identity]) -> bool:
        """Always False."""
        del identities
        return False

    def to_envelope(self) -> policies_pb2.SignaturePolicyEnvelope:
        """Always raises `MalformedPolicy`."""
        raise MalformedPolicy(f"no such policy: '{self.name}'")


def name_identities(identities: Sequence[Identity]) -> tuple[str, ...]:
    """Return "MSP id/common name" of each identity, for people."""
    return tuple(f"{identity.msp_id}/{identity.common_name}" for identity in identities)


def _compile(
    rule: policies_pb2.SignaturePolicy,
    principals: Sequence[msp_principal_pb2.MSPPrincipal],
    msps: MspManager,
    depth: int = 0,
) -> _Evaluator:
    kind = rule.WhichOneof("Type")
    if depth > _MAX_DEPTH:
        raise MalformedPolicy("the policy is nested too deeply")
    if kind == "signed_by":
        if not 0 <= rule.signed_by < len(principals):
            raise MalformedPolicy(
                f"identity index out of range, requested {rule.signed_by}, "
                f"but identities length is {len(principals)}"
            )
        return _signed_by(principals[rule.signed_by], msps)
    if kind == "n_out_of":
        gates = [_compile(part, principals, msps, depth + 1) for part in rule.n_out_of.rules]
        return _out_of(rule.n_out_of.n, gates)
    raise MalformedPolicy("Unknown type: <nil>:<nil>")


def _signed_by(principal: msp_principal_pb2.MSPPrincipal, msps: MspManager) -> _Evaluator:
    def evaluate(identities: Sequence[Identity], used: list[bool]) -> bool:
        # The first unused identity that fits is taken for good.
        for index, identity in enumerate(identities):
            if used[index]:
                continue
            try:
                msps.satisfies(identity, principal)
            except IdentityError:
                continue
            used[index] = True
            return True
        return False

    return evaluate


def _out_of(count: int, gates: Sequence[_Evaluator]) -> _Evaluator:
    def evaluate(identities: Sequence[Identity], used: list[bool]) -> bool:
        # Every gate is tried even when enough are satisfied, and what they take stays taken;
        # only a gate that fails gives its identities back.
        satisfied = 0
        for gate in gates:
            attempt = used.copy()
            if gate(identities, attempt):
                satisfied += 1
                used[:] = attempt
        return satisfied >= count

    return evaluate


def _renumber(
    rule: policies_pb2.SignaturePolicy, places: Sequence[int]
) -> policies_pb2.SignaturePolicy:
    if rule.WhichOneof("Type") == "n_out_of":
        gate = rule.n_out_of
        return out_of(gate.n, [_renumber(part, places) for part in gate.rules])
    return policies_pb2.SignaturePolicy(signed_by=places[rule.signed_by])
