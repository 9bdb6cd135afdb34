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

class FetchRequest(_message.Message):
    __slots__ = ("channel_id", "access_id", "record_id", "version", "offset", "identity", "custodian", "timestamp", "tls_cert_hash", "length")
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    ACCESS_ID_FIELD_NUMBER: _ClassVar[int]
    RECORD_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    CUSTODIAN_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TLS_CERT_HASH_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    channel_id: str
    access_id: str
    record_id: str
    version: int
    offset: int
    identity: bytes
    custodian: str
    timestamp: _timestamp_pb2.Timestamp
    tls_cert_hash: bytes
    length: int
    def __init__(self, channel_id: _Optional[str] = ..., access_id: _Optional[str] = ..., record_id: _Optional[str] = ..., version: _Optional[int] = ..., offset: _Optional[int] = ..., identity: _Optional[bytes] = ..., custodian: _Optional[str] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., tls_cert_hash: _Optional[bytes] = ..., length: _Optional[int] = ...) -> None: ...

class FetchResponse(_message.Message):
    __slots__ = ("opening", "content")
    OPENING_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    opening: Opening
    content: bytes
    def __init__(self, opening: _Optional[_Union[Opening, _Mapping]] = ..., content: _Optional[bytes] = ...) -> None: ...

class Opening(_message.Message):
    __slots__ = ("release", "size")
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    release: bytes
    size: int
    def __init__(self, release: _Optional[bytes] = ..., size: _Optional[int] = ...) -> None: ...

class LocateRequest(_message.Message):
    __slots__ = ("channel_id", "identity", "custodian", "timestamp", "tls_cert_hash", "record_ids")
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    CUSTODIAN_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TLS_CERT_HASH_FIELD_NUMBER: _ClassVar[int]
    RECORD_IDS_FIELD_NUMBER: _ClassVar[int]
    channel_id: str
    identity: bytes
    custodian: str
    timestamp: _timestamp_pb2.Timestamp
    tls_cert_hash: bytes
    record_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, channel_id: _Optional[str] = ..., identity: _Optional[bytes] = ..., custodian: _Optional[str] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., tls_cert_hash: _Optional[bytes] = ..., record_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class LocateResponse(_message.Message):
    __slots__ = ("memberships",)
    MEMBERSHIPS_FIELD_NUMBER: _ClassVar[int]
    memberships: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, memberships: _Optional[_Iterable[bytes]] = ...) -> None: ...
