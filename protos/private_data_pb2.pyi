from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SignedRequest(_message.Message):
    __slots__ = ("request", "signature")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    request: bytes
    signature: bytes
    def __init__(self, request: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class RequestHeader(_message.Message):
    __slots__ = ("channel_id", "identity", "recipient", "timestamp")
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    channel_id: str
    identity: bytes
    recipient: str
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, channel_id: _Optional[str] = ..., identity: _Optional[bytes] = ..., recipient: _Optional[str] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PushRequest(_message.Message):
    __slots__ = ("header", "tx_id", "endorsed_at", "private_rwset")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TX_ID_FIELD_NUMBER: _ClassVar[int]
    ENDORSED_AT_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_RWSET_FIELD_NUMBER: _ClassVar[int]
    header: RequestHeader
    tx_id: str
    endorsed_at: int
    private_rwset: bytes
    def __init__(self, header: _Optional[_Union[RequestHeader, _Mapping]] = ..., tx_id: _Optional[str] = ..., endorsed_at: _Optional[int] = ..., private_rwset: _Optional[bytes] = ...) -> None: ...

class PushResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Digest(_message.Message):
    __slots__ = ("namespace", "collection", "tx_id", "block_number", "tx_number", "rwset_hash")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TX_ID_FIELD_NUMBER: _ClassVar[int]
    BLOCK_NUMBER_FIELD_NUMBER: _ClassVar[int]
    TX_NUMBER_FIELD_NUMBER: _ClassVar[int]
    RWSET_HASH_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    collection: str
    tx_id: str
    block_number: int
    tx_number: int
    rwset_hash: bytes
    def __init__(self, namespace: _Optional[str] = ..., collection: _Optional[str] = ..., tx_id: _Optional[str] = ..., block_number: _Optional[int] = ..., tx_number: _Optional[int] = ..., rwset_hash: _Optional[bytes] = ...) -> None: ...

class PullRequest(_message.Message):
    __slots__ = ("header", "digests")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    header: RequestHeader
    digests: _containers.RepeatedCompositeFieldContainer[Digest]
    def __init__(self, header: _Optional[_Union[RequestHeader, _Mapping]] = ..., digests: _Optional[_Iterable[_Union[Digest, _Mapping]]] = ...) -> None: ...

class Element(_message.Message):
    __slots__ = ("digest", "rwset")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    RWSET_FIELD_NUMBER: _ClassVar[int]
    digest: Digest
    rwset: bytes
    def __init__(self, digest: _Optional[_Union[Digest, _Mapping]] = ..., rwset: _Optional[bytes] = ...) -> None: ...

class PullResponse(_message.Message):
    __slots__ = ("elements",)
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    elements: _containers.RepeatedCompositeFieldContainer[Element]
    def __init__(self, elements: _Optional[_Iterable[_Union[Element, _Mapping]]] = ...) -> None: ...
