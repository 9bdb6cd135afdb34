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


RULES: Mapping[str, tuple[Effect, Rule]] = {
    # "Permit for clinicians that have authorization for Treatment use", and no other access.
    codes.POLICY_BASIC_NORMAL: (
        Effect.PERMIT,
        Rule(
            actors=(_CLINICIAN,),
            purposes=(codes.TREATMENT,),
            labels=("N",),
            exceptions=(_SENSITIVE,),
        ),
    ),
    # "Permit for all authorized uses."
    codes.POLICY_ALL_NORMAL: (Effect.PERMIT, Rule(labels=("N",), exceptions=(_SENSITIVE,))),
    # "Deny for all use, except" break-glass; that it was declared is asked before this.
    codes.POLICY_BREAK_GLASS_ONLY: (
        Effect.DENY,
        Rule(exceptions=(Rule(purposes=(codes.BREAK_GLASS,)),)),
    ),
    codes.POLICY_DENY: (Effect.DENY, Rule()),
}

ROOTS: Mapping[str, CompiledRule] = {
    uri: CompiledRule(rule, effect, Match(f"implicit:{uri}"))
    for uri, (effect, rule) in RULES.items()
}
