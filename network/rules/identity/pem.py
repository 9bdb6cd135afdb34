"""PEM as Go's encoding/pem reads and writes it: any label, text around it ignored.

One pass over the lines: the time does not depend on how often a block begins without ending.
"""

import base64
import binascii

_BEGIN, _END, _DASHES = b"-----BEGIN ", b"-----END ", b"-----"


def open_pem(data: bytes) -> list[tuple[str, bytes]]:
    """Return every well-formed block as (label, content), in order; broken ones are passed over."""
    blocks = []
    label = b""
    body: list[bytes] | None = None
    for line in data.split(b"\n"):
        line = line.rstrip(b" \t\r")
        if line.startswith(_BEGIN) and line.endswith(_DASHES):
            label, body = line[len(_BEGIN) : -len(_DASHES)], []
        elif line.startswith(_END):
            ended = line == _END + label + _DASHES
            content = _decode(body) if ended and body is not None else None
            if content is not None:
                blocks.append((label.decode("utf-8", "replace"), content))
            body = None
        elif body is not None:
            body.append(line)
    return blocks


def first_pem(data: bytes) -> bytes | None:
    """Return the content of the first block of any label, or None when there is none."""
    blocks = open_pem(data)
    return blocks[0][1] if blocks else None


def build_pem(label: str, content: bytes) -> bytes:
    """Return one block as Go writes it: 64 columns, a newline at the end."""
    text = base64.b64encode(content)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    begin, end = f"-----BEGIN {label}-----".encode(), f"-----END {label}-----".encode()
    return b"\n".join([begin, *lines, end, b""])


def _decode(lines: list[bytes]) -> bytes | None:
    start = 0
    while start < len(lines) and b":" in lines[start]:
        start += 1  # headers, as encrypted keys have them
    text = b"".join(lines[start:]).replace(b" ", b"").replace(b"\t", b"").replace(b"\r", b"")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
