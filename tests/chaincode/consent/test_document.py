"""`docs/consent.md` does what it shows."""

import doctest
from pathlib import Path

from chaincode.consent import library

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "consent.md"


def test_the_examples_print_what_the_document_shows() -> None:
    result = doctest.testfile(str(DOCUMENT), module_relative=False)
    assert result.failed == 0
    assert result.attempted > 15


def test_the_library_names_what_it_has() -> None:
    assert all(hasattr(library, name) for name in library.__all__)
