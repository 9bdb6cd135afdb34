"""What holds where no consent applies: IHE PCF 1.1, volume 1, implicit policies.

Each is an ordinary rule tree, so that labels, purposes and categories are read as in a consent.
"Normal" is confidentiality N or below with no special sensitivity.
"""

from __future__ import annotations

from collections.abc import Mapping

from chaincode.consent import codes
from chaincode.consent.compiled import CompiledRule
from chaincode.consent.model import Effect, Match, Party, Rule

_SENSITIVE = Rule(labels=tuple(sorted(codes.SENSITIVITIES)))
_CLINICIAN = Party("role:clinician")


def _root(uri: str, effect: Effect, rule: Rule) -> CompiledRule:
    return CompiledRule(rule, effect, Match(f"implicit:{uri}"))


ROOTS: Mapping[str, CompiledRule] = {
    # "Permit for clinicians that have authorization for Treatment use, no other access."
    codes.POLICY_BASIC_NORMAL: _root(
        codes.POLICY_BASIC_NORMAL,
        Effect.PERMIT,
        Rule(
            actors=(_CLINICIAN,),
            purposes=(codes.TREATMENT,),
            labels=("N",),
            exceptions=(_SENSITIVE,),
        ),
    ),
    # "Permit for all authorized uses."
    codes.POLICY_ALL_NORMAL: _root(
        codes.POLICY_ALL_NORMAL, Effect.PERMIT, Rule(labels=("N",), exceptions=(_SENSITIVE,))
    ),
    # "Deny for all use, except" a declared break-glass, which is decided before this.
    codes.POLICY_BREAK_GLASS_ONLY: _root(codes.POLICY_BREAK_GLASS_ONLY, Effect.DENY, Rule()),
    codes.POLICY_DENY: _root(codes.POLICY_DENY, Effect.DENY, Rule()),
}
