"""Regenerates our wire modules from `protos/*.proto`: `python protos/generate.py`.

Runs from the repository's root, so that the generated modules import one another as
`protos.<name>_pb2`. Fabric's own messages come from the `hyperledger-fabric-protos` wheel and are
not generated here.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent


def generate(root: Path = ROOT) -> None:
    """Each `.proto` beside this file has fresh `_pb2.py`, `_pb2.pyi` and `_pb2_grpc.py` modules.

    Raises:
        SystemExit: protoc refused a file; its message is on stderr.
    """
    found = (root / "protos").glob("*.proto")
    sources = sorted(path.relative_to(root).as_posix() for path in found)
    status = protoc.main(
        [
            "protoc",
            f"-I{root}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"--python_out={root}",
            f"--pyi_out={root}",
            f"--grpc_python_out={root}",
            *sources,
        ]
    )
    if status != 0:
        raise SystemExit(status)


if __name__ == "__main__":
    generate()
    sys.stdout.write("protos: generated\n")
