"""A chain is verified, and whatever is spoilt in it is found and named at its place."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.peer import transaction_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.errors import ExitCode, FaultError
from admin.procedures.ledgers.blockfiles import open_folder
from admin.procedures.ledgers.blocksources import FolderSource
from admin.procedures.ledgers.ledgercheck import LedgerVerdict, verify_ledger
from network.rules.blocks.block import data_hash, header_hash, open_block
from network.rules.validation.commit_hash import COMMIT_HASH, TRANSACTIONS_FILTER
from tests.admin.command import medfabric

VECTORS = Path(__file__).parents[3] / "vectors"
BEHAVIOUR = VECTORS / "ledger" / "behaviour"
PEER = VECTORS / "blocks" / "peer"
ORDERER = VECTORS / "blocks" / "orderer"

VALID = transaction_pb2.VALID
MVCC = transaction_pb2.MVCC_READ_CONFLICT


async def verify(folder: Path, channel_id: str | None = None, trusted: Any = None) -> LedgerVerdict:
    source = FolderSource(open_folder(folder, channel_id))
    return await verify_ledger(source, channel_id=channel_id, trusted=trusted)


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A copy of a real peer's chain of 40 blocks."""
    return Path(shutil.copytree(BEHAVIOUR, tmp_path / "chain"))


def file_of(folder: Path, number: int) -> Path:
    return folder / f"{number:03}.block"


def spoil(folder: Path, number: int, change: Callable[[Any], None]) -> None:
    file = file_of(folder, number)
    block = open_block(file.read_bytes())
    change(block)
    file.write_bytes(block.SerializeToString())


def flip(raw: bytes, at: int = -1) -> bytes:
    spoilt = bytearray(raw)
    spoilt[at] ^= 1
    return bytes(spoilt)


def places(verdict: LedgerVerdict) -> list[tuple[int, str]]:
    return [(one.block, one.check) for one in verdict.differences]


class TestRealChains:
    @pytest.mark.parametrize(
        ("folder", "blocks", "codes", "hashes"),
        [(BEHAVIOUR, 40, 83, 39), (VECTORS / "ledger" / "malformed", 8, 51, 7), (PEER, 5, 5, 4)],
        ids=["behaviour", "malformed", "config update"],
    )
    async def test_a_real_peers_chain_is_verified(
        self, folder: Path, blocks: int, codes: int, hashes: int
    ) -> None:
        verdict = await verify(folder)
        assert verdict.differences == ()
        assert verdict.intact
        assert verdict.complete
        assert verdict.blocks == verdict.height == blocks
        assert verdict.transactions == verdict.codes_compared == codes
        assert verdict.commit_hashes_compared == hashes
        assert verdict.orderer_signatures == blocks - 1

    async def test_an_orderers_chain_has_nothing_to_compare_codes_with(self) -> None:
        verdict = await verify(ORDERER)
        assert verdict.intact
        assert verdict.codes_compared == 0
        assert any("record no validation codes" in note for note in verdict.notes)
        recorded = await verify(PEER)
        assert verdict.commit_hash == recorded.commit_hash
        assert verdict.newest_hash == recorded.newest_hash

    async def test_the_genesis_block_is_trusted_only_when_it_came_from_elsewhere(self) -> None:
        taken = await verify(PEER)
        assert not taken.trusted
        assert any("--trust" in note for note in taken.notes)
        trusted = await verify(PEER, trusted=open_block((ORDERER / "0.block").read_bytes()))
        assert trusted.trusted
        assert trusted.intact
        other = await verify(PEER, trusted=open_block((BEHAVIOUR / "000.block").read_bytes()))
        assert places(other) == [(0, "trust")]

    async def test_a_later_block_can_be_trusted_and_has_to_be_there(self, chain: Path) -> None:
        newest = open_block(file_of(chain, 39).read_bytes())
        assert (await verify(chain, trusted=newest)).trusted
        file_of(chain, 39).unlink()
        assert places(await verify(chain, trusted=newest)) == [(39, "trust")]

    async def test_names_of_files_do_not_matter_and_other_files_are_passed_over(
        self, chain: Path
    ) -> None:
        for number in range(40):
            file_of(chain, number).rename(chain / f"ch_{39 - number}.pb")
        (chain / "README.md").write_text("blocks of channel ch\n")
        shutil.copy(PEER / "3.block", chain / "care_config.block")
        verdict = await verify(chain)
        assert verdict.intact
        assert verdict.blocks == 40
        assert any("README.md" in note for note in verdict.notes)
        assert any("channel care" in note for note in verdict.notes)

    async def test_of_a_block_from_peer_and_orderer_the_peers_is_read(self, tmp_path: Path) -> None:
        for source in (PEER, ORDERER):
            for file in source.iterdir():
                shutil.copy(file, tmp_path / f"{source.name}_{file.name}")
        verdict = await verify(tmp_path)
        assert verdict.intact
        assert verdict.codes_compared == 5

    async def test_the_temporary_state_is_private_and_goes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        modes: list[int] = []

        def watch(step: object) -> None:
            modes.extend(folder.stat().st_mode & 0o777 for folder in tmp_path.iterdir())

        await verify_ledger(FolderSource(open_folder(PEER)), watch=watch)
        assert modes == [0o700] * 5
        assert os.listdir(tmp_path) == []


class TestRecordsOfThePeer:
    """The blocks are right; what the peer wrote into them is not."""

    async def test_a_changed_validation_code(self, chain: Path) -> None:
        def change(block: Any) -> None:
            codes = bytearray(block.metadata.metadata[TRANSACTIONS_FILTER])
            index = codes.index(MVCC)
            codes[index] = VALID
            block.metadata.metadata[TRANSACTIONS_FILTER] = bytes(codes)

        spoil(chain, 8, change)
        verdict = await verify(chain)
        (found,) = verdict.differences
        assert (found.block, found.check, found.file) == (8, "code", "008.block")
        assert (found.recorded, found.recomputed) == ("VALID", "MVCC_READ_CONFLICT")
        assert len(found.transaction_id) == 64
        assert found.position is not None
        assert "changed a key that this one read" in found.text
        assert " of maj at version 7:0, which is now 8:0" in found.text

    @pytest.mark.parametrize(
        ("number", "name", "reason"),
        [
            (22, "ENDORSEMENT_POLICY_FAILURE", "endorsements hold); "),
            (12, "PHANTOM_READ_CONFLICT", "in a range it read"),
            (9, "DUPLICATE_TXID", "its id stands in an earlier block already"),
        ],
    )
    async def test_an_invalid_transaction_called_valid(
        self, chain: Path, number: int, name: str, reason: str
    ) -> None:
        code = transaction_pb2.TxValidationCode.Value(name)

        def change(block: Any) -> None:
            codes = bytes(block.metadata.metadata[TRANSACTIONS_FILTER])
            assert code in codes, f"block {number} has {list(codes)}"
            block.metadata.metadata[TRANSACTIONS_FILTER] = codes.replace(bytes([code]), b"\0")

        spoil(chain, number, change)
        verdict = await verify(chain)
        assert {(one.block, one.check) for one in verdict.differences} == {(number, "code")}
        assert {one.recomputed for one in verdict.differences} == {name}
        assert all(reason in one.text for one in verdict.differences), verdict.differences

    async def test_a_valid_transaction_called_invalid(self, chain: Path) -> None:
        def change(block: Any) -> None:
            block.metadata.metadata[TRANSACTIONS_FILTER] = bytes([MVCC])

        spoil(chain, 5, change)
        (found,) = (await verify(chain)).differences
        assert (found.block, found.position, found.recomputed) == (5, 0, "VALID")
        assert "every check holds; endorsed by Org" in found.text

    async def test_codes_for_more_transactions_than_there_are(self, chain: Path) -> None:
        spoil(chain, 5, lambda block: _append(block, TRANSACTIONS_FILTER, b"\0"))
        assert places(await verify(chain)) == [(5, "code")]

    async def test_missing_codes_beside_a_commit_hash(self, chain: Path) -> None:
        spoil(chain, 5, lambda block: _set(block, TRANSACTIONS_FILTER, b""))
        assert places(await verify(chain)) == [(5, "code")]

    async def test_a_changed_commit_hash_is_found_where_it_is_and_nowhere_else(
        self, chain: Path
    ) -> None:
        spoil(
            chain,
            11,
            lambda block: _set(block, COMMIT_HASH, flip(block.metadata.metadata[COMMIT_HASH])),
        )
        assert places(await verify(chain)) == [(11, "commit-hash")]

    @pytest.mark.parametrize("slot", [b"", b"\xff"])
    async def test_a_missing_or_unreadable_commit_hash(self, chain: Path, slot: bytes) -> None:
        spoil(chain, 11, lambda block: _set(block, COMMIT_HASH, slot))
        assert places(await verify(chain)) == [(11, "commit-hash")]

    async def test_a_wrong_last_configuration_block(self, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(PEER, tmp_path / "chain"))
        block = open_block((folder / "4.block").read_bytes())
        _set(block, common_pb2.LAST_CONFIG, b"")
        (folder / "4.block").write_bytes(block.SerializeToString())
        assert places(await verify(folder)) == [(4, "last-config")]


class TestBlocks:
    """The blocks themselves are not what the orderers signed."""

    async def test_a_flipped_byte_in_a_header(self, chain: Path) -> None:
        def change(block: Any) -> None:
            block.header.data_hash = flip(block.header.data_hash)

        spoil(chain, 20, change)
        assert places(await verify(chain)) == [
            (20, "data-hash"),
            (20, "orderer-signature"),
            (21, "previous-hash"),
        ]

    async def test_a_flipped_byte_in_the_previous_hash(self, chain: Path) -> None:
        def change(block: Any) -> None:
            block.header.previous_hash = flip(block.header.previous_hash)

        spoil(chain, 20, change)
        assert places(await verify(chain)) == [
            (20, "previous-hash"),
            (20, "orderer-signature"),
            (21, "previous-hash"),
        ]

    async def test_a_flipped_byte_in_a_transaction(self, chain: Path) -> None:
        def change(block: Any) -> None:
            block.data.data[0] = flip(block.data.data[0], len(block.data.data[0]) // 2)

        spoil(chain, 7, change)
        found = (await verify(chain)).differences
        assert (found[0].block, found[0].check) == (7, "data-hash")
        assert (found[1].block, found[1].check, found[1].recorded) == (7, "code", "VALID")
        assert found[1].recomputed == "BAD_CREATOR_SIGNATURE"
        assert "signature" in found[1].text

    async def test_a_flipped_byte_in_the_orderers_signature(self, chain: Path) -> None:
        spoil(chain, 20, _spoil_signature)
        (found,) = (await verify(chain)).differences
        assert (found.block, found.check) == (20, "orderer-signature")
        assert "/Channel/Orderer/BlockValidation" in found.text

    async def test_a_removed_signature(self, chain: Path) -> None:
        spoil(chain, 20, lambda block: _set(block, common_pb2.SIGNATURES, b""))
        assert (20, "orderer-signature") in places(await verify(chain))

    async def test_a_missing_metadata_entry(self, chain: Path) -> None:
        def change(block: Any) -> None:
            del block.metadata.metadata[COMMIT_HASH:]

        spoil(chain, 20, change)
        assert (20, "form") in places(await verify(chain))

    async def test_a_removed_block(self, chain: Path) -> None:
        file_of(chain, 17).unlink()
        verdict = await verify(chain)
        (found,) = verdict.differences
        assert (found.block, found.check, found.text) == (17, "missing", "block 17 is missing")
        assert not verdict.complete
        assert (verdict.blocks, verdict.height) == (17, 40)
        assert "nothing from block 17 on was judged" in verdict.notes

    async def test_several_removed_blocks(self, chain: Path) -> None:
        for number in (17, 18):
            file_of(chain, number).unlink()
        (found,) = (await verify(chain)).differences
        assert found.text == "blocks 17 to 18 are missing"

    async def test_blocks_that_changed_places(self, chain: Path) -> None:
        contents = [open_block(file_of(chain, number).read_bytes()) for number in (20, 21)]
        contents[0].header.number, contents[1].header.number = 21, 20
        for number, block in zip((21, 20), contents, strict=True):
            file_of(chain, number).write_bytes(block.SerializeToString())
        found = places(await verify(chain))
        assert found[0] == (20, "previous-hash")
        assert {(20, "orderer-signature"), (21, "previous-hash"), (21, "orderer-signature")} <= set(
            found
        )

    async def test_a_stripped_endorsement_under_a_recomputed_data_hash(self, chain: Path) -> None:
        def change(block: Any) -> None:
            block.data.data[0] = _strip_endorsement(block.data.data[0])
            block.header.data_hash = data_hash(block.data.data)

        spoil(chain, 7, change)
        verdict = await verify(chain)
        found = [one for one in verdict.differences if one.block == 7]
        assert [one.check for one in found] == ["orderer-signature", "code", "commit-hash"]
        # The submitter signed the endorsements, too.
        assert found[1].recomputed == "BAD_CREATOR_SIGNATURE"
        assert (8, "previous-hash") in places(verdict)

    async def test_a_transaction_left_out(self, chain: Path) -> None:
        def change(block: Any) -> None:
            del block.data.data[-1]
            block.header.data_hash = data_hash(block.data.data)

        spoil(chain, 8, change)
        verdict = await verify(chain)
        assert {(8, "orderer-signature"), (8, "code"), (9, "previous-hash")} <= set(places(verdict))

    async def test_a_configuration_nobody_authorised(self, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(PEER, tmp_path / "chain"))
        block = open_block((folder / "3.block").read_bytes())
        envelope = common_pb2.Envelope.FromString(block.data.data[0])
        # The same update once more, on top of what it led to.
        block.header.number = 4
        block.header.previous_hash = header_hash(
            open_block((folder / "3.block").read_bytes()).header
        )
        block.data.data[0] = envelope.SerializeToString()
        (folder / "4.block").write_bytes(block.SerializeToString())
        verdict = await verify(folder)
        found = verdict.differences[-1]
        assert (found.block, found.check, found.position) == (4, "config", 0)
        assert "config currently at sequence 1" in found.text
        assert not verdict.complete


class TestFolders:
    async def test_a_truncated_file_stands_against_the_chain(self, chain: Path) -> None:
        newest = file_of(chain, 39)
        newest.write_bytes(newest.read_bytes()[:500])
        verdict = await verify(chain)
        (found,) = verdict.differences
        assert (found.block, found.check, found.file) == (39, "unreadable", "039.block")

    async def test_two_blocks_of_one_number(self, chain: Path) -> None:
        block = open_block(file_of(chain, 20).read_bytes())
        block.header.data_hash = flip(block.header.data_hash)
        (chain / "x.block").write_bytes(block.SerializeToString())
        (found,) = (await verify(chain)).differences
        assert found.text == "020.block and x.block hold different blocks 20"

    async def test_a_chain_without_its_genesis_block_cannot_be_begun(self, chain: Path) -> None:
        file_of(chain, 0).unlink()
        with pytest.raises(FaultError, match="the first block is block 1") as raised:
            await verify(chain)
        assert raised.value.fault.exit_code is ExitCode.INVALID

    async def test_another_channel_than_asked_for(self, chain: Path) -> None:
        with pytest.raises(FaultError, match="no block of channel care"):
            await verify(chain, "care")

    async def test_several_channels_and_none_chosen(self, tmp_path: Path) -> None:
        shutil.copytree(PEER, tmp_path / "chain")
        for file in filter(Path.is_file, BEHAVIOUR.iterdir()):
            shutil.copy(file, tmp_path / "chain")
        with pytest.raises(FaultError, match="several channels here: care, ch"):
            await verify(tmp_path / "chain")
        assert (await verify(tmp_path / "chain", "care")).blocks == 5
        assert (await verify(tmp_path / "chain", "ch")).blocks == 40

    @pytest.mark.parametrize("content", [None, "no block"])
    async def test_a_folder_without_blocks(self, tmp_path: Path, content: str | None) -> None:
        if content is not None:
            (tmp_path / "a.txt").write_text(content)
        with pytest.raises(FaultError, match="no block file here"):
            await verify(tmp_path)


@given(st.integers(0, 4), st.integers(0, 10**9), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_no_flipped_bit_goes_unnoticed(number: int, at: int, bit: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(shutil.copytree(PEER, Path(name) / "chain"))
        file = folder / f"{number}.block"
        raw = bytearray(file.read_bytes())
        raw[at % len(raw)] ^= 1 << bit
        file.write_bytes(raw)
        if number == 0:
            # Without a genesis block that can be read there is no chain to speak of.
            with suppress(FaultError):
                assert not asyncio.run(verify(folder)).intact
            return
        verdict = asyncio.run(verify(folder))
        assert not verdict.intact
        assert any(one.block in (number, number + 1) for one in verdict.differences)


class TestCommand:
    def test_a_verified_chain_ends_with_0(self) -> None:
        ran = medfabric("ledger", "verify", "--folder", str(PEER), "-q")
        assert ran.code == 0, ran.err
        assert ran.out.startswith("VERIFIED  channel care, blocks 0 to 4, of ")
        assert "compared      5 validation codes, 4 commit hashes" in ran.out

    def test_a_chain_that_differs_ends_with_5_and_tells_the_place(self, chain: Path) -> None:
        spoil(chain, 20, _spoil_signature)
        ran = medfabric("ledger", "verify", "--folder", str(chain))
        assert ran.code == 5
        assert ran.out.startswith("DIFFERS  channel ch")
        assert "block 20 (020.block): orderer-signature" in ran.out

    def test_json_has_one_shape(self, chain: Path) -> None:
        good = medfabric("ledger", "verify", "--folder", str(chain), "--json")
        spoil(chain, 20, _spoil_signature)
        bad = medfabric("ledger", "verify", "--folder", str(chain), "--json")
        assert (good.code, bad.code) == (0, 5)
        assert good.json["result"].keys() == bad.json["result"].keys()
        assert good.json["result"]["intact"] is True
        assert bad.json["result"]["differences"][0] == {
            "block": 20,
            "check": "orderer-signature",
            "text": bad.json["result"]["differences"][0]["text"],
            "position": None,
            "transactionId": "",
            "recorded": "",
            "recomputed": "",
            "file": "020.block",
        }

    def test_a_spoilt_genesis_block_ends_with_5(self, chain: Path) -> None:
        def change(block: Any) -> None:
            block.data.data[0] = flip(block.data.data[0], 2)

        spoil(chain, 0, change)
        ran = medfabric("ledger", "verify", "--folder", str(chain), "--channel", "ch")
        assert ran.code == 5, ran

    def test_folder_and_peer_exclude_each_other(self, tmp_path: Path) -> None:
        ran = medfabric("ledger", "verify", "--folder", str(tmp_path), "--peer", "peer0")
        assert ran.code == 2
        assert "exclude each other" in ran.err

    def test_a_trusted_file_has_to_be_a_block(self, tmp_path: Path) -> None:
        (tmp_path / "x.block").write_text("nothing")
        ran = medfabric(
            "ledger", "verify", "--folder", str(PEER), "--trust", str(tmp_path / "x.block")
        )
        assert ran.code == 3


def _set(block: Any, slot: int, value: bytes) -> None:
    block.metadata.metadata[slot] = value


def _append(block: Any, slot: int, value: bytes) -> None:
    block.metadata.metadata[slot] += value


def _spoil_signature(block: Any) -> None:
    slot = common_pb2.SIGNATURES
    metadata = common_pb2.Metadata.FromString(block.metadata.metadata[slot])
    metadata.signatures[0].signature = flip(metadata.signatures[0].signature)
    _set(block, slot, metadata.SerializeToString())


def _strip_endorsement(raw: bytes) -> bytes:
    envelope = common_pb2.Envelope.FromString(raw)
    payload = common_pb2.Payload.FromString(envelope.payload)
    transaction = transaction_pb2.Transaction.FromString(payload.data)
    action = transaction_pb2.ChaincodeActionPayload.FromString(transaction.actions[0].payload)
    del action.action.endorsements[-1]
    transaction.actions[0].payload = action.SerializeToString()
    payload.data = transaction.SerializeToString()
    envelope.payload = payload.SerializeToString()
    stripped: bytes = envelope.SerializeToString()
    return stripped
