"""The name of `_lifecycle`, and the names that it accepts, to be matched from end to end.

Source: core/chaincode/lifecycle/scc.go.
"""

import re

LIFECYCLE = "_lifecycle"
CHAINCODE_NAME = re.compile(r"[a-zA-Z0-9]+([-_][a-zA-Z0-9]+)*")
CHAINCODE_VERSION = re.compile(r"[A-Za-z0-9_.+-]+")
COLLECTION_NAME = re.compile(r"[A-Za-z0-9-]+([A-Za-z0-9_-]+)*")
SYSTEM_NAMES = frozenset({"cscc", "escc", "lscc", "qscc", "vscc"})
"""Names of Fabric's own chaincodes, which no other can have."""
