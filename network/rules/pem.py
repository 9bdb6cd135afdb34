"""PEM as Go's encoding/pem reads and writes it: any label, text around it ignored."""

import base64
import binascii
import re

_BLOCK = re.compile(
    rb"(?:^|\n)-----BEGIN ([^\n]*?)-----[ \t\r]*\n(.*?)\n?-----END \1-----[ \t\r]*(?:\n|$)",
    re.DOTALL,
)
_HEADER = re.compile(rb"^[^\n:]+:[^\n]*\n")


def open_pem(data: bytes) -> list[tuple[str, bytes]]:
    """Return every well-formed block as (label, content), in order; broken ones are passed over."""
    blocks = []
    for match in _BLOCK.finditer(data):
        body = match.group(2) + b"\n"
        while header := _HEADER.match(body):
            body = body[header.end() :]
        try:
            content = base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error:
            continue
        blocks.append((match.group(1).decode("utf-8", "replace"), content))
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
