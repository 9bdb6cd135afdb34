"""Nothing of a transaction is left when it is over, however it ended."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from chaincode.shim.handler import ChaincodeMessage
from chaincode.shim.session import Capacity
from tests.chaincode.shim.test_session_properties import BEHAVIOURS, Peer, build_input

ROUNDS = 200


async def run(peer: Peer, behaviour: str, rounds: int, answer: int) -> None:
    for number in range(rounds):
        peer.send(ChaincodeMessage.TRANSACTION, f"t{number}", build_input(behaviour))
        if number % 5 == 0:  # the peer gave up on it, and begins it again
            peer.send(ChaincodeMessage.TRANSACTION, f"t{number}", build_input(behaviour))
        while not await peer.session.drain(0.0005):
            for _, tx in sorted(peer.owed):
                peer.send(answer, tx, b"")
    for _ in range(3):
        await asyncio.sleep(0)
    for _, tx in sorted(peer.owed):
        peer.send(answer, tx, b"")


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
async def test_no_object_is_kept(behaviour: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "chaincode")  # what pytest captures, it keeps
    peer = Peer(Capacity(64, 64))
    for answer in (ChaincodeMessage.RESPONSE, ChaincodeMessage.ERROR):
        await run(peer, behaviour, ROUNDS // 4, answer)  # what is made once is made
        gc.collect()
        before = len(gc.get_objects())
        await run(peer, behaviour, ROUNDS, answer)
        gc.collect()
        assert len(gc.get_objects()) - before < ROUNDS // 4
    assert peer.session._handler._conversations == {}
    assert peer.session._answers == {}
    await peer.session.close()
