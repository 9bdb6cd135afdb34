"""Merkle trees and their proofs as RFC 6962 section 2.1 and RFC 9162 section 2.1 define them.

Pure: bytes in, bytes or an error out. A leaf is hashed with prefix 0x00 and an inner node with
0x01, and an odd node climbs unpaired: a leaf is never duplicated, so two different lists never
share a root (the ambiguity of CVE-2012-2459). Proofs are lists of 32-byte hashes, lowest sibling
first.

Start with :class:`Tree`, which builds a million leaves in one pass and gives proofs in O(log n);
:func:`validate_inclusion` and :func:`validate_consistency` need no tree.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""MTH({}) of RFC 6962 section 2.1: SHA-256 of nothing."""


class InvalidProof(ValueError):
    """The proof does not show what it claims; the text says why."""


def hash_leaf(data: bytes) -> bytes:
    """Return SHA-256(0x00 || data), the hash of a leaf with this content."""
    return hashlib.sha256(b"\x00" + data).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right), the hash of the node above these two."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree over leaf hashes, all levels kept: 64 bytes a leaf.

    ``Tree(hash_leaf(d) for d in data)``. Level 0 holds the leaf hashes; each level above pairs the
    one below, an odd last node climbing unchanged, which yields RFC 6962's split at the largest
    power of two.
    """

    __slots__ = ("_levels",)

    def __init__(self, leaf_hashes: Iterable[bytes]) -> None:
        leaves = bytearray()
        for number, leaf in enumerate(leaf_hashes):
            if len(leaf) != HASH_SIZE:
                raise ValueError(f"leaf {number} is {len(leaf)} bytes, not a {HASH_SIZE}-byte hash")
            leaves += leaf
        self._levels = [bytes(leaves)]
        while len(self._levels[-1]) > HASH_SIZE:
            self._levels.append(_level_above(self._levels[-1]))

    def __len__(self) -> int:
        return len(self._levels[0]) // HASH_SIZE

    @property
    def root(self) -> bytes:
        """The Merkle tree hash of all leaves."""
        return self._levels[-1] or EMPTY_ROOT

    def leaf(self, index: int) -> bytes:
        """Return the hash of the leaf at ``index``; raises ``IndexError``."""
        self._require_index(index)
        return self._node(0, index)

    def build_inclusion_proof(self, index: int) -> list[bytes]:
        """Return PATH(index, D[n]) of RFC 9162 section 2.1.3.1; raises ``IndexError``."""
        self._require_index(index)
        return [self._node(level, number) for level, number in inclusion_nodes(index, len(self))]

    @property
    def levels(self) -> list[bytes]:
        """The hashes of each level one after the other, leaves first, the root last."""
        return self._levels

    def build_consistency_proof(self, size: int) -> list[bytes]:
        """Return PROOF(size, D[n]) of RFC 9162 section 2.1.4.1: the first ``size`` leaves are a
        prefix of this tree.

        Empty for ``size`` 0 and for the whole tree, where there is nothing to show. Raises
        ``IndexError``.
        """
        if not 0 <= size <= len(self):
            raise IndexError(f"size {size} is not between 0 and the tree's {len(self)}")
        if size in (0, len(self)):
            return []
        return self._subproof(size, 0, len(self), whole=True)

    def _subproof(self, size: int, start: int, end: int, *, whole: bool) -> list[bytes]:
        """SUBPROOF(size, D[start:end], whole), sizes relative to ``start``."""
        if size == end - start:
            return [] if whole else [self._range_root(start, end)]
        split = _largest_power_below(end - start)
        if size <= split:
            inner = self._subproof(size, start, start + split, whole=whole)
            return [*inner, self._range_root(start + split, end)]
        inner = self._subproof(size - split, start + split, end, whole=False)
        return [*inner, self._range_root(start, start + split)]

    def _range_root(self, start: int, end: int) -> bytes:
        """Root of D[start:end], for the ranges the split makes: aligned, and full or at the tree's
        right edge."""
        height = (end - start - 1).bit_length()
        return self._node(height, start >> height)

    def _node(self, level: int, index: int) -> bytes:
        return self._levels[level][index * HASH_SIZE : (index + 1) * HASH_SIZE]

    def _require_index(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"leaf {index} is not in a tree of {len(self)}")


def inclusion_nodes(index: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (level, number) of each node of PATH(index, D[size]), lowest first.

    For trees that are kept in files: level 0 holds the leaves, each level above half as many nodes,
    rounded up.
    """
    count = size
    level = 0
    while count > 1:
        sibling = index ^ 1
        if sibling < count:
            yield level, sibling
        index >>= 1
        count = (count + 1) // 2
        level += 1


def compute_root(leaf_hashes: Iterable[bytes]) -> bytes:
    """Return the root over ``leaf_hashes`` in constant memory: log2(n) pending nodes.

    Raises ValueError for one that is not 32 bytes.
    """
    # roots of full subtrees, largest first: the binary digits of the count
    pending: list[bytes] = []
    for count, leaf in enumerate(leaf_hashes):
        if len(leaf) != HASH_SIZE:
            raise ValueError(f"leaf {count} is {len(leaf)} bytes, not a {HASH_SIZE}-byte hash")
        node, digit = leaf, count
        while digit & 1:
            node = hash_node(pending.pop(), node)
            digit >>= 1
        pending.append(node)
    if not pending:
        return EMPTY_ROOT
    root = pending.pop()
    while pending:
        root = hash_node(pending.pop(), root)
    return root


def validate_inclusion(
    leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """The leaf is at ``index`` of the tree of ``size`` leaves with ``root`` (RFC 9162 section
    2.1.3.2).

    Raises:
        InvalidProof: the index is outside the tree, the proof too short, too long or of odd hashes,
            or the root differs.
    """
    if not 0 <= index < size:
        raise InvalidProof(f"index {index} is not in a tree of {size}")
    _require_hashes([leaf_hash, root, *proof])
    fn, sn, node = index, size - 1, leaf_hash
    for sibling in proof:
        if sn == 0:
            raise InvalidProof("the proof is longer than the tree is high")
        if fn & 1 or fn == sn:
            node = hash_node(sibling, node)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            node = hash_node(node, sibling)
        fn >>= 1
        sn >>= 1
    if sn:
        raise InvalidProof("the proof is shorter than the tree is high")
    if node != root:
        raise InvalidProof("the proof leads to another root")


def validate_consistency(
    size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]
) -> None:
    """The tree of ``size1`` leaves is a prefix of the tree of ``size2`` leaves (RFC 9162 section
    2.1.4.2).

    An empty first tree is a prefix of every tree and takes an empty proof and the root of nothing.

    Raises:
        InvalidProof: sizes in the wrong order, a proof where none is due or none where one is, or a
            root differs.
    """
    if not 0 <= size1 <= size2:
        raise InvalidProof(f"size {size1} is not between 0 and {size2}")
    _require_hashes([root1, root2, *proof])
    if size1 in (0, size2):
        expected = EMPTY_ROOT if size1 == 0 else root2
        if proof:
            raise InvalidProof("the proof should be empty")
        if root1 != expected or (size2 == 0 and root2 != EMPTY_ROOT):
            raise InvalidProof("the roots differ where they must be equal")
        return
    path = list(proof)
    # step 2: a full subtree's own root starts the path and is left out of the proof
    if size1 & (size1 - 1) == 0:
        path.insert(0, root1)
    if not path:
        raise InvalidProof("the proof is empty")
    reached1, reached2 = _fold_consistency(size1, size2, path)
    if reached1 != root1:
        raise InvalidProof("the proof leads to another first root")
    if reached2 != root2:
        raise InvalidProof("the proof leads to another second root")


def _fold_consistency(size1: int, size2: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Fold the path into both roots: steps 3 to 7 of RFC 9162 section 2.1.4.2."""
    fn, sn = size1 - 1, size2 - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    first = second = path[0]
    for node in path[1:]:
        if sn == 0:
            raise InvalidProof("the proof is longer than the tree is high")
        if fn & 1 or fn == sn:
            first = hash_node(node, first)
            second = hash_node(node, second)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            second = hash_node(second, node)
        fn >>= 1
        sn >>= 1
    if sn:
        raise InvalidProof("the proof is shorter than the tree is high")
    return first, second


def _level_above(level: bytes) -> bytes:
    above = bytearray()
    paired = len(level) - len(level) % (2 * HASH_SIZE)
    sha256 = hashlib.sha256
    for at in range(0, paired, 2 * HASH_SIZE):
        above += sha256(b"\x01" + level[at : at + 2 * HASH_SIZE]).digest()
    return bytes(above) + level[paired:]


def _largest_power_below(size: int) -> int:
    """The largest power of two smaller than ``size``; ``size`` is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _require_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(value) != HASH_SIZE for value in hashes):
        raise InvalidProof(f"every hash is {HASH_SIZE} bytes")
