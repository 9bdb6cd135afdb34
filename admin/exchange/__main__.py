"""`python -m admin.exchange NETWORK ORGANISATION [STORE]`: one organisation's record exchange.

Serves its sealed records and follows the ledger to release what was permitted, in the name of the
organisation's identity `exchange` (role=service). Ends with 0 after SIGTERM, with 1 and one line on
standard error when it cannot start.
"""

import asyncio
import logging
import signal
import sys
from functools import partial
from pathlib import Path

from admin.errors import to_fault
from admin.exchange.custodian import Custodian
from admin.exchange.keyring import KeyRing
from admin.exchange.place import ExchangePlace, open_place
from admin.exchange.service import RecordExchange
from admin.exchange.store import RecordStore
from admin.exchange.trust import ChannelTrust
from admin.procedures.care.batchfiles import find_membership
from admin.procedures.networks.health import Health
from network.client import Gateway
from network.client.channel import get_config
from network.client.checkpoint import Checkpoint
from network.client.errors import ClientError
from network.client.peer import PeerClient
from network.client.profile import Profile, load_surroundings
from network.node.serving.grpc_server import RotatingTls, ServerTls, make_server
from network.rules.channel.config import ChannelConfig
from protos import exchange_pb2_grpc

log = logging.getLogger("medfabric.exchange")

GRACE = 5.0
RETRY_DELAY = 0.5
LONGEST_DELAY = 15.0
REFRESH = 15.0
"""Seconds between looks at the channel's configuration: new members, revoked certificates."""
TIDY = 600.0
"""Seconds between looks for released keys whose time has run out."""


def main(arguments: list[str]) -> int:
    """Run one exchange until it is told to stop; returns the exit code."""
    if len(arguments) not in (2, 3):
        sys.stderr.write("usage: python -m admin.exchange NETWORK ORGANISATION [STORE]\n")
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        place = open_place(load_surroundings(Path(arguments[0])), *arguments[1:])
        asyncio.run(serve(place))
    except KeyboardInterrupt:
        return 0
    except Exception as failure:
        fault = to_fault(failure)
        sys.stderr.write(f"exchange: {fault.message} {fault.remedy}\n")
        return 1
    return 0


async def serve(place: ExchangePlace) -> None:
    """Serve and release until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    profile = place.profile
    async with Gateway.connect(endpoint=profile.endpoint, signer=profile.signer) as gateway:
        custodian = Custodian(
            msp_id=profile.signer.msp_id,
            health=Health(gateway, place.channel_id),
            store=RecordStore(place.store_url),
            keys=KeyRing(place.keys),
            trust=ChannelTrust(await _await_config(profile, place.channel_id)),
            locate=partial(find_membership, place.batches),
        )
        tls = RotatingTls(_build_tls(place, custodian.trust))
        server = make_server(tls)
        exchange_pb2_grpc.add_RecordExchangeServicer_to_server(
            RecordExchange(custodian), server.grpc
        )
        await server.start(place.address)
        log.info("Record exchange of %s listening on %s", profile.signer.msp_id, place.address)
        log.info("It serves the records in %s", place.store_url)
        work = [
            asyncio.create_task(_follow(custodian, Checkpoint(place.checkpoint))),
            asyncio.create_task(_refresh(place, custodian.trust, tls)),
            asyncio.create_task(_tidy(custodian)),
        ]
        await stopping.wait()
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await server.stop(GRACE)


def _build_tls(place: ExchangePlace, trust: ChannelTrust) -> ServerTls:
    """Mutual TLS: only who holds a certificate of a member's CA gets to say anything."""
    return ServerTls(
        place.tls_key.read_bytes(),
        place.tls_certificate.read_bytes(),
        client_auth_required=True,
        client_roots=trust.tls_client_roots(),
    )


async def _follow(custodian: Custodian, checkpoint: Checkpoint) -> None:
    """Whatever ends the work on an event (a peer, a store that is away), the event comes again."""
    delay, reached = RETRY_DELAY, None
    while True:
        try:
            await custodian.follow(checkpoint)
        except Exception as failure:
            log.warning("events are followed anew: %s", type(failure).__name__)
        before, reached = reached, checkpoint.position
        delay = min(2 * delay, LONGEST_DELAY) if reached == before else RETRY_DELAY
        await asyncio.sleep(delay)


async def _refresh(place: ExchangePlace, trust: ChannelTrust, tls: RotatingTls) -> None:
    """Members that join, leave or revoke a certificate are known within `REFRESH` seconds."""
    while True:
        await asyncio.sleep(REFRESH)
        try:
            trust.replace(await _read_config(place.profile, place.channel_id))
            tls.tls = _build_tls(place, trust)
        except (ClientError, OSError) as failure:
            log.warning("the channel's configuration was not read: %s", type(failure).__name__)


async def _tidy(custodian: Custodian) -> None:
    """Keys whose access has run out are destroyed, and what killed writers left behind."""
    while True:
        try:
            await custodian.take_back()
            await asyncio.to_thread(custodian.store.remove_abandoned)
        except Exception as failure:  # an object store has errors of its own
            log.warning("not tidied: %s", type(failure).__name__)
        await asyncio.sleep(TIDY)


async def _await_config(profile: Profile, channel_id: str) -> ChannelConfig:
    """Return the channel's configuration once the peer answers: it may still be starting."""
    while True:
        try:
            return await _read_config(profile, channel_id)
        except ClientError as failure:
            log.warning("the peer does not answer yet: %s", type(failure).__name__)
        await asyncio.sleep(RETRY_DELAY)


async def _read_config(profile: Profile, channel_id: str) -> ChannelConfig:
    async with PeerClient(profile.endpoint, profile.signer) as peer:
        return ChannelConfig.from_config(channel_id, await get_config(peer, channel_id))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
