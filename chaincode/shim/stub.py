"""What a contract sees of the ledger: the 43 calls of Fabric's Go shim, in Python names.

Calls that talk to the peer are coroutines; range, query and history calls give async iterators.
A missing key reads as None. Reads never see the transaction's own writes: no Fabric shim does.
Errors: PeerError when the peer refuses, InvalidKey before anything is sent, WriteInQuery in a
transaction declared as `@query`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from fabric_protos.peer import chaincode_event_pb2, chaincode_pb2
from google.protobuf.message import DecodeError

from chaincode.errors import InvalidArgument, InvalidKey, PeerError
from chaincode.shim import compositekey
from chaincode.shim.handler import ChaincodeMessage, Invocation
from chaincode.shim.iterators import (
    HistoryIterator,
    Page,
    StateIterator,
)
from chaincode.shim.proposal import open_proposal
from chaincode.shim.requests import Link, Requests
from chaincode.shim.response import ERROR, Response, open_response


class Stub:
    """One transaction's view of the ledger."""

    def __init__(self, invocation: Invocation, link: Link) -> None:
        """Raises InvalidArgument if the signed proposal cannot be read."""
        self._invocation = invocation
        self._requests = Requests(link)
        self._proposal = open_proposal(invocation.signed_proposal)
        self._event: Any = None

    # --- the invocation ---------------------------------------------------------------------

    def get_args(self) -> list[bytes]:
        """All arguments as bytes; the first is the function's name."""
        return list(self._invocation.args)

    def get_string_args(self) -> list[str]:
        """All arguments as strings. Raises InvalidArgument naming one that is not UTF-8."""
        return [decode_argument(raw, index) for index, raw in enumerate(self._invocation.args)]

    def get_function_and_parameters(self) -> tuple[str, list[str]]:
        """The function's name and its parameters; ("", []) if there are no arguments."""
        function, *parameters = self.get_string_args() or [""]
        return function, parameters

    def get_args_slice(self) -> bytes:
        """All arguments joined."""
        return b"".join(self._invocation.args)

    def get_tx_id(self) -> str:
        """The transaction's id, hex of SHA-256 over nonce and creator."""
        return self._invocation.tx_id

    def get_channel_id(self) -> str:
        """The channel the proposal names."""
        return self._invocation.channel_id

    def get_creator(self) -> bytes:
        """The signer of the proposal, `msp.SerializedIdentity` bytes."""
        return self._proposal.creator

    def get_transient(self) -> Mapping[str, bytes]:
        """Data for this transaction that stays off the ledger."""
        return self._proposal.transient

    def get_binding(self) -> bytes:
        """SHA-256 over nonce, creator and epoch: ties application data to this proposal."""
        return self._proposal.binding

    def get_decorations(self) -> Mapping[str, bytes]:
        """What the peer's decorators added."""
        return self._invocation.decorations

    def get_signed_proposal(self) -> Any:
        """The `protos.SignedProposal` as the client sent it."""
        return self._invocation.signed_proposal

    def get_tx_timestamp(self) -> datetime:
        """The client's time in the proposal, aware UTC: equal at every endorser."""
        return self._proposal.timestamp

    def set_event(self, name: str, payload: bytes = b"") -> None:
        """The transaction's event, delivered if it commits as valid. The last call wins.

        Raises InvalidArgument for an empty name.
        """
        if not name:
            raise InvalidArgument("event name can not be empty string")
        self._requests.validate_writable()
        self._event = chaincode_event_pb2.ChaincodeEvent(event_name=name, payload=payload)

    # --- state ------------------------------------------------------------------------------

    async def get_state(self, key: str) -> bytes | None:
        """The committed value of a key, None if there is none."""
        return await self._requests.get(key, "")

    async def get_multiple_states(self, *keys: str) -> list[bytes | None]:
        """The committed values of these keys, in their order; one message if the peer can."""
        return await self._requests.get_multiple(keys, "")

    async def put_state(self, key: str, value: bytes) -> None:
        """Write a value when the transaction commits."""
        await self._requests.put(key, value, "")

    async def del_state(self, key: str) -> None:
        """Delete a key when the transaction commits."""
        await self._requests.delete(key, "")

    async def set_state_validation_parameter(self, key: str, policy: bytes) -> None:
        """Set a key's own endorsement policy (`statebased.KeyEndorsementPolicy.build()`)."""
        await self._requests.put_metadata(key, policy, "")

    async def get_state_validation_parameter(self, key: str) -> bytes | None:
        """A key's own endorsement policy, None if the chaincode's applies."""
        return await self._requests.get_metadata(key, "")

    def get_state_by_range(self, start_key: str, end_key: str) -> StateIterator:
        """Simple keys from start (included) to end (excluded); "" means from or to the end."""
        return self._requests.scan(*compositekey.simple_key_range(start_key, end_key), "")

    async def get_state_by_range_with_pagination(
        self, start_key: str, end_key: str, page_size: int, bookmark: str = ""
    ) -> Page:
        """One page of a range. Only for transactions that do not write."""
        bounds = compositekey.simple_key_range(start_key, end_key)
        return await self._requests.scan_page(*bounds, page_size, bookmark)

    def get_state_by_partial_composite_key(
        self, object_type: str, attributes: Sequence[str] = ()
    ) -> StateIterator:
        """All composite keys that begin with these parts."""
        bounds = compositekey.partial_composite_key_range(object_type, attributes)
        return self._requests.scan(*bounds, "")

    async def get_state_by_partial_composite_key_with_pagination(
        self, object_type: str, attributes: Sequence[str], page_size: int, bookmark: str = ""
    ) -> Page:
        """One page of the composite keys that begin with these parts."""
        bounds = compositekey.partial_composite_key_range(object_type, attributes)
        return await self._requests.scan_page(*bounds, page_size, bookmark)

    async def get_all_states_composite_key_with_pagination(
        self, page_size: int, bookmark: str = ""
    ) -> Page:
        """One page of all composite keys of the chaincode."""
        start = compositekey.COMPOSITE_KEY_NAMESPACE
        end = start + compositekey.MAX_UNICODE_RUNE
        return await self._requests.scan_page(start, end, page_size, bookmark)

    def create_composite_key(self, object_type: str, attributes: Sequence[str]) -> str:
        """See `compositekey.create_composite_key`."""
        return compositekey.create_composite_key(object_type, attributes)

    def split_composite_key(self, composite_key: str) -> tuple[str, list[str]]:
        """See `compositekey.split_composite_key`."""
        return compositekey.split_composite_key(composite_key)

    def get_query_result(self, query: str) -> StateIterator:
        """Results of a rich query (CouchDB selector as JSON); needs a state store that can."""
        return self._requests.query(query, "")

    async def get_query_result_with_pagination(
        self, query: str, page_size: int, bookmark: str = ""
    ) -> Page:
        """One page of a rich query. Only for transactions that do not write."""
        return await self._requests.query_page(query, page_size, bookmark)

    def get_history_for_key(self, key: str) -> HistoryIterator:
        """All committed changes of a key, newest first; empty if the peer keeps no history."""
        return self._requests.history(key)

    # --- private data -----------------------------------------------------------------------

    async def get_private_data(self, collection: str, key: str) -> bytes | None:
        """The committed private value of a key, None if there is none."""
        return await self._requests.get(key, _validated_collection(collection))

    async def get_multiple_private_data(self, collection: str, *keys: str) -> list[bytes | None]:
        """The committed private values of these keys, in their order."""
        return await self._requests.get_multiple(keys, _validated_collection(collection))

    async def get_private_data_hash(self, collection: str, key: str) -> bytes | None:
        """SHA-256 of a private value; works at organisations that are not members, too."""
        return await self._requests.get_hash(key, _validated_collection(collection))

    async def put_private_data(self, collection: str, key: str, value: bytes) -> None:
        """Write a private value when the transaction commits; only its hash is public."""
        await self._requests.put(key, value, _validated_collection(collection))

    async def del_private_data(self, collection: str, key: str) -> None:
        """Delete a private key when the transaction commits."""
        await self._requests.delete(key, _validated_collection(collection))

    async def purge_private_data(self, collection: str, key: str) -> None:
        """Delete a private key and its history from every peer (capability V2_5)."""
        await self._requests.purge(key, _validated_collection(collection))

    async def set_private_data_validation_parameter(
        self, collection: str, key: str, policy: bytes
    ) -> None:
        """Set a private key's own endorsement policy."""
        await self._requests.put_metadata(key, policy, _validated_collection(collection))

    async def get_private_data_validation_parameter(
        self, collection: str, key: str
    ) -> bytes | None:
        """A private key's own endorsement policy, None if the collection's applies."""
        return await self._requests.get_metadata(key, _validated_collection(collection))

    def get_private_data_by_range(
        self, collection: str, start_key: str, end_key: str
    ) -> StateIterator:
        """Private simple keys of a range. Only for transactions that do not write."""
        bounds = compositekey.simple_key_range(start_key, end_key)
        return self._requests.scan(*bounds, _validated_collection(collection))

    def get_private_data_by_partial_composite_key(
        self, collection: str, object_type: str, attributes: Sequence[str] = ()
    ) -> StateIterator:
        """Private composite keys that begin with these parts. For transactions without writes."""
        bounds = compositekey.partial_composite_key_range(object_type, attributes)
        return self._requests.scan(*bounds, _validated_collection(collection))

    def get_private_data_query_result(self, collection: str, query: str) -> StateIterator:
        """Results of a rich query over a collection. Only for transactions without writes."""
        return self._requests.query(query, _validated_collection(collection))

    # --- other chaincodes and batches -------------------------------------------------------

    async def invoke_chaincode(
        self, name: str, args: Sequence[bytes | str], channel: str = ""
    ) -> Response:
        """The answer of another chaincode, whatever its status.

        On the same channel its writes join this transaction; on another one they are dropped.
        Raises PeerError if the peer cannot or may not call it.
        """
        request = chaincode_pb2.ChaincodeSpec(
            chaincode_id=chaincode_pb2.ChaincodeID(name=f"{name}/{channel}" if channel else name),
            input=chaincode_pb2.ChaincodeInput(
                args=[arg.encode() if isinstance(arg, str) else arg for arg in args]
            ),
        )
        raw = await self._requests.call(ChaincodeMessage.INVOKE_CHAINCODE, request)
        try:
            inner = ChaincodeMessage.FromString(raw)
            if inner.type == ChaincodeMessage.COMPLETED:
                return open_response(inner.payload)
        except DecodeError:
            raise PeerError("the called chaincode's answer cannot be read") from None
        return Response(ERROR, inner.payload.decode("utf-8", "replace"))

    def start_write_batch(self) -> None:
        """From here on writes are kept and sent together, if the peer can take them so.

        Their errors then come from `finish_write_batch` (or the transaction's end), not from the
        write itself.
        """
        self._requests.start_write_batch()

    async def finish_write_batch(self) -> None:
        """Send the writes that are kept, in as many messages as the peer's limit needs."""
        await self._requests.finish_write_batch()

    # --- for the shim itself ----------------------------------------------------------------

    @property
    def event(self) -> Any:
        """The `protos.ChaincodeEvent` to send with the answer, or None."""
        return self._event

    def forbid_writes(self) -> None:
        """Afterwards every write and event raises WriteInQuery."""
        self._requests.forbid_writes()

    def read_own_writes(self) -> None:
        """Afterwards reads of keys answer what this transaction wrote to them (see `overlay`)."""
        self._requests.read_own_writes()

    async def finish(self, *, succeeded: bool) -> None:
        """Send what is still kept and close what is still open.

        After a failure nothing is written: the peer would throw it away.
        """
        await self._requests.finish(succeeded=succeeded)


def decode_argument(raw: bytes, index: int) -> str:
    """The argument as text. Raises InvalidArgument naming its position if it is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        name = f"argument {index}" if index else "the function's name"
        raise InvalidArgument(f"{name} is not valid UTF-8") from None


def _validated_collection(collection: str) -> str:
    if not collection:
        raise InvalidKey("collection must not be an empty string")
    return collection
