"""Where a mistake in the code is said to be: at the developer's own line."""

from chaincode.development.child import describe_problem

FILE = "/somewhere/assets.py"


def test_a_mistake_shows_at_the_line_that_made_it() -> None:
    assert describe_problem(fail("x = 1\nnobody(x)")) == (
        f"{FILE}:2: NameError: name 'nobody' is not defined"
    )


def test_a_refusal_by_the_house_shows_at_the_line_that_called_it() -> None:
    for code in (
        "from chaincode.shim.compositekey import create_composite_key\n"
        "create_composite_key('', ['a'])",
        "from chaincode import canonical\ncanonical.parse_json(b'{')",
        "from chaincode.merkle import compute_root\ncompute_root([b'short'])",
    ):
        assert describe_problem(fail(code)).startswith(f"{FILE}:2: "), code


def test_a_file_that_is_no_python_shows_its_line() -> None:
    assert describe_problem(fail("x = 1\ndef (")).startswith(f"{FILE}:2: SyntaxError: ")


def fail(code: str) -> Exception:
    try:
        exec(compile(code, FILE, "exec"), {})
    except Exception as error:
        return error
    raise AssertionError("the code has no mistake")
