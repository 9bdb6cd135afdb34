"""Which option of IHE Privacy Consent on FHIR a directive needs of whoever enforces it.

Source: IHE ITI PCF 1.1, profiles consentBasic, consentIntermediate and consentAdvanced. Purposes
are an extensible value set at every level, so they ask for none.
"""

from __future__ import annotations

from enum import IntEnum

from chaincode.consent.model import Directive, Meaning, Rule


class Level(IntEnum):
    """An enforcement point of a level can hold every directive of the levels below it."""

    BASIC = 1
    """Period, actors, purposes; one rule."""
    INTERMEDIATE = 2
    """Exceptions to it, by time, author, encounter, or the data themselves."""
    ADVANCED = 3
    """Confidentiality and sensitivity labels."""
    BEYOND = 4
    """What PCF leaves out: deeper nesting, actions, classes, codes, dependents."""


def find_level(directive: Directive) -> Level:
    """The lowest level that can hold the directive."""
    return _level_of(directive.rule, 0)


def _level_of(rule: Rule, depth: int) -> Level:
    beyond = rule.actions or rule.classes or rule.resource_types or rule.document_types
    dependents = any(data.meaning is Meaning.DEPENDENTS for data in rule.data)
    if depth > 1 or beyond or rule.codes or dependents:
        return Level.BEYOND
    own = Level.ADVANCED if rule.labels else Level.BASIC
    if depth or rule.data_period or rule.data:
        own = max(own, Level.INTERMEDIATE)
    return max([own, *(_level_of(nested, depth + 1) for nested in rule.exceptions)])
