"""The wire form: what is written is read again, and what is unknown stays unknown."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import canonical
from chaincode.consent.lifecycle import directive_digest
from chaincode.consent.model import AccessRequest, Consent, Directive
from tests.chaincode.consent.generate import Generator


@given(st.integers(0, 2**40))
@settings(max_examples=200, deadline=None)
def test_consents_and_requests_survive_the_wire(seed: int) -> None:
    generator = Generator(seed)
    consent, request = generator.consent(), generator.request()
    assert canonical.decode(Consent, canonical.encode(consent)) == consent
    assert canonical.decode(AccessRequest, canonical.encode(request)) == request


@given(st.integers(0, 2**40), st.integers(0, 2**40))
@settings(max_examples=100, deadline=None)
def test_a_digest_tells_directives_apart(one: int, other: int) -> None:
    first, second = Generator(one).directive(), Generator(other).directive()
    assert (directive_digest(first) == directive_digest(second)) is (first == second)


def test_what_is_left_out_has_its_default() -> None:
    raw = b'{"decision":"permit","rule":{"purposes":["TREAT"]}}'
    directive = canonical.decode(Directive, raw)
    assert (directive.scope, directive.rule.labels, directive.rule.period) == (
        "patient-privacy",
        (),
        None,
    )
