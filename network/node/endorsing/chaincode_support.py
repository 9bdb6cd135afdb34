"""`protos.ChaincodeSupport/Register`: a chaincode dials this peer, as one under development does.

Chaincodes that run as services are dialled by the peer (`node.endorsing.chaincode_link`), and this
peer starts none itself. So whoever registers here was started by a person: that is development
mode (chaincode.mode=dev, `--peer-chaincodedev`), and refused otherwise in Fabric's words
(core/chaincode/handler_registry.go). Such a chaincode names itself `name:version`, which is the
package of a definition whose own package is not installed. Nothing proves its identity: a peer in
development mode belongs on a developer's machine only.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2_grpc
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage
from google.protobuf.message import DecodeError

from network.node.endorsing.chaincode_link import ChaincodeLink
from network.node.endorsing.chaincode_registry import ChaincodeRegistry, DuplicateChaincode
from network.rules.endorsement.chaincode_talk import Features

log = logging.getLogger("chaincode")


class RegistrationRefused(Exception):
    """The chaincode may not register; the text is Fabric's."""


class ChaincodeSupport(chaincode_shim_pb2_grpc.ChaincodeSupportServicer):  # type: ignore[misc]
    """Lets chaincodes register by dialling in."""

    def __init__(
        self, registry: ChaincodeRegistry, features: Features, *, development: bool
    ) -> None:
        self._registry = registry
        self._features = features
        self._development = development

    async def Register(  # noqa: D102  the service's method
        self, request_iterator: AsyncIterator[ChaincodeMessage], context: Any
    ) -> None:
        stream = _Incoming(context)
        try:
            first = await stream.read()
            name = self._open_registration(first)
            link = ChaincodeLink(name, self._features)
            self._registry.accept(name, link)
        except (RegistrationRefused, DuplicateChaincode) as refused:
            log.warning("a chaincode may not register: %s", refused)
            await context.abort(grpc.StatusCode.UNKNOWN, str(refused))
        log.info("chaincode %s has dialled in", name)
        await link.serve(stream, first)

    def _open_registration(self, message: Any) -> str:
        if not isinstance(message, ChaincodeMessage) or message.type != ChaincodeMessage.REGISTER:
            raise RegistrationRefused("First message needs to be a register")
        try:
            name = str(chaincode_pb2.ChaincodeID.FromString(message.payload).name)
        except DecodeError:
            raise RegistrationRefused("could NOT unmarshal registration info") from None
        if not name:
            raise RegistrationRefused(
                "error in handling register chaincode, chaincodeID name is empty"
            )
        if not self._development:
            raise RegistrationRefused(
                f"peer will not accept external chaincode connection {name} (except in dev mode)"
            )
        return name


class _Incoming:
    """A served stream, with the methods of a dialled one."""

    def __init__(self, context: Any) -> None:
        self._context = context

    async def read(self) -> Any:
        return await self._context.read()

    async def write(self, message: ChaincodeMessage) -> None:
        await self._context.write(message)

    def cancel(self) -> None:
        """The stream ends when the handler returns."""
