"""Merkle trees against published vectors and a naive transcription of RFC 6962."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaincode import merkle

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "merkle" / "rfc6962.json").read_text()
)
PUBLISHED = json.loads(
    (Path(__file__).parents[1] / "vectors" / "merkle" / "transparency-dev.json").read_text()
)
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]


def naive_root(data: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    if not data:
        return hashlib.sha256(b"").digest()
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    k = naive_split(len(data))
    return hashlib.sha256(b"\x01" + naive_root(data[:k]) + naive_root(data[k:])).digest()


def naive_path(m: int, data: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1."""
    if len(data) == 1:
        return []
    k = naive_split(len(data))
    if m < k:
        return [*naive_path(m, data[:k]), naive_root(data[k:])]
    return [*naive_path(m - k, data[k:]), naive_root(data[:k])]


def naive_proof(m: int, data: list[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962 section 2.1.2."""
    if m == len(data):
        return [] if whole else [naive_root(data)]
    k = naive_split(len(data))
    if m <= k:
        return [*naive_proof(m, data[:k], whole=whole), naive_root(data[k:])]
    return [*naive_proof(m - k, data[k:], whole=False), naive_root(data[:k])]


def naive_split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def tree_of(data: list[bytes]) -> merkle.Tree:
    return merkle.Tree(merkle.hash_leaf(item) for item in data)


def test_known_hashes() -> None:
    assert merkle.EMPTY_ROOT.hex() == VECTORS["empty"]
    assert merkle.hash_leaf(b"").hex().startswith(VECTORS["emptyLeafPrefix"])
    assert merkle.hash_leaf(b"L123456").hex().startswith(VECTORS["leafL123456Prefix"])
    assert merkle.hash_node(b"N123", b"N456").hex().startswith(VECTORS["nodeN123N456Prefix"])


@pytest.mark.parametrize("size", range(1, 9))
def test_known_roots(size: int) -> None:
    assert tree_of(LEAVES[:size]).root.hex() == VECTORS["roots"][size - 1]
    assert (
        merkle.compute_root(map(merkle.hash_leaf, LEAVES[:size])).hex()
        == VECTORS["roots"][size - 1]
    )


def test_empty_tree() -> None:
    assert merkle.Tree([]).root == merkle.compute_root([]) == merkle.EMPTY_ROOT
    assert len(merkle.Tree([])) == 0


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=70))
def test_tree_follows_the_definition(data: list[bytes]) -> None:
    tree = tree_of(data)
    assert tree.root == naive_root(data) == merkle.compute_root(map(merkle.hash_leaf, data))
    for index in range(len(data)):
        proof = tree.build_inclusion_proof(index)
        assert proof == naive_path(index, data)
        merkle.validate_inclusion(tree.leaf(index), index, len(data), proof, tree.root)
    for size in range(1, len(data) + 1):
        proof = tree.build_consistency_proof(size)
        assert proof == naive_proof(size, data)
        merkle.validate_consistency(size, naive_root(data[:size]), len(data), tree.root, proof)


@given(st.integers(1, 40), st.data())
def test_a_changed_inclusion_proof_fails(size: int, data: st.DataObject) -> None:
    tree = tree_of([bytes([n]) for n in range(size)])
    index = data.draw(st.integers(0, size - 1))
    proof = tree.build_inclusion_proof(index)
    for changed in mutations(proof):
        with pytest.raises(merkle.InvalidProof):
            merkle.validate_inclusion(tree.leaf(index), index, size, changed, tree.root)
    for other in {index - 1, index + 1, size, -1} - {index}:
        with pytest.raises(merkle.InvalidProof):
            merkle.validate_inclusion(tree.leaf(index), other, size, proof, tree.root)
    with pytest.raises(merkle.InvalidProof):
        merkle.validate_inclusion(flip(tree.leaf(index)), index, size, proof, tree.root)


@given(st.integers(2, 40), st.data())
def test_a_changed_consistency_proof_fails(size2: int, data: st.DataObject) -> None:
    leaves = [bytes([n]) for n in range(size2)]
    tree = tree_of(leaves)
    size1 = data.draw(st.integers(1, size2 - 1))
    root1, root2 = naive_root(leaves[:size1]), tree.root
    proof = tree.build_consistency_proof(size1)
    for changed in mutations(proof):
        with pytest.raises(merkle.InvalidProof):
            merkle.validate_consistency(size1, root1, size2, root2, changed)
    for bad1, bad2 in [(flip(root1), root2), (root1, flip(root2)), (root2, root1)]:
        with pytest.raises(merkle.InvalidProof):
            merkle.validate_consistency(size1, bad1, size2, bad2, proof)
    with pytest.raises(merkle.InvalidProof):
        merkle.validate_consistency(size2, root1, size1, root2, proof)


def test_equal_and_empty_trees_take_an_empty_proof() -> None:
    root = naive_root(LEAVES)
    merkle.validate_consistency(8, root, 8, root, [])
    merkle.validate_consistency(0, merkle.EMPTY_ROOT, 8, root, [])
    merkle.validate_consistency(0, merkle.EMPTY_ROOT, 0, merkle.EMPTY_ROOT, [])
    for size1, root1, proof in [(8, flip(root), []), (8, root, [root]), (0, root, [])]:
        with pytest.raises(merkle.InvalidProof):
            merkle.validate_consistency(size1, root1, 8, root, proof)


def test_a_duplicated_last_leaf_changes_the_root() -> None:
    assert tree_of(LEAVES[:3]).root != tree_of([*LEAVES[:3], LEAVES[2]]).root


def test_out_of_range_and_odd_hashes_are_refused() -> None:
    tree = tree_of(LEAVES)
    for index in (-1, 8):
        with pytest.raises(IndexError):
            tree.build_inclusion_proof(index)
        with pytest.raises(IndexError):
            tree.leaf(index)
    for size in (-1, 9):
        with pytest.raises(IndexError):
            tree.build_consistency_proof(size)
    with pytest.raises(ValueError, match="leaf 0 is 1 bytes"):
        merkle.Tree([b"x"])
    with pytest.raises(ValueError, match="leaf 0 is 1 bytes"):
        merkle.compute_root([b"x"])
    with pytest.raises(merkle.InvalidProof, match="32 bytes"):
        merkle.validate_inclusion(b"short", 0, 1, [], tree.root)


def published_cases(kind: str) -> Iterator[dict[str, Any]]:
    """Proofs of a second implementation, and broken ones (tests/vectors/merkle/README.md)."""
    cases: list[dict[str, Any]] = PUBLISHED[kind]
    assert len(cases) == 98
    yield from cases


def test_published_inclusion_cases() -> None:
    for case in published_cases("inclusion"):
        call = (
            *(decode(case["leafHash"]), case["leafIdx"], case["treeSize"]),
            *(decode_all(case["proof"]), decode(case["root"])),
        )
        expect(case, merkle.validate_inclusion, call)


def test_published_consistency_cases() -> None:
    for case in published_cases("consistency"):
        if not case["wantErr"] and len(decode(case["root1"])) != merkle.HASH_SIZE:
            continue  # "don't care" as a root: we ask for real hashes even where they only compare
        call = (
            *(case["size1"], decode(case["root1"]), case["size2"], decode(case["root2"])),
            decode_all(case["proof"]),
        )
        expect(case, merkle.validate_consistency, call)


def expect(case: dict[str, Any], check: Any, call: tuple[Any, ...]) -> None:
    if not case["wantErr"]:
        check(*call)
        return
    try:
        check(*call)
    except merkle.InvalidProof:
        return
    pytest.fail(f"accepted: {case['name']}")


def decode(value: str | None) -> bytes:
    return base64.b64decode(value or "")


def decode_all(values: list[str] | None) -> list[bytes]:
    return [decode(value) for value in values or []]


def flip(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


def mutations(proof: list[bytes]) -> Iterator[list[bytes]]:
    yield [*proof, bytes(32)]
    yield [bytes(32), *proof]
    for at, node in enumerate(proof):
        yield [*proof[:at], *proof[at + 1 :]]
        yield [*proof[:at], flip(node), *proof[at + 1 :]]
