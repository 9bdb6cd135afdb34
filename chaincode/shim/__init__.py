"""Fabric's shim in Python: a peer's messages in, a contract's `stub` out.

Read it from the peer's side inwards: `server` (peers dial us; `http2`, `services`) or `dialer` (we
dial a peer) open streams; `streams` carries one; `session` runs its transactions; `handler` is the
talk as a state machine without I/O; `stub` is what a contract sees of it.
"""
