"""TLS material that is renewed on disk is used without a restart.

Every new connection looks at the files; connections that stand keep what they began with. Files
that do not fit together (a new certificate whose key is still to come) are reported and the last
good ones stay in use.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable

from chaincode.errors import ConfigurationError
from chaincode.shim.settings import ServerTls
from protos.http2.server import build_tls_context

logger = logging.getLogger("chaincode.shim.renewal")

Load = Callable[[], ServerTls | None]


class RenewedTls:
    """A context for a server, `context`, whose handshakes follow what `load` answers."""

    def __init__(self, tls: ServerTls, load: Load) -> None:
        """Raises ssl.SSLError or ValueError: `tls` cannot be used."""
        self._tls = tls
        self._load = load
        self._current = build(tls)
        self.context = build(tls)
        # Called at each handshake, also where the client names no server.
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
        self._renew()
        connection.context = self._current

    def _renew(self) -> None:
        try:
            found = self._load()
            if found is None or found == self._tls:
                return
            self._current = build(found)
        except (ConfigurationError, ssl.SSLError, ValueError) as error:
            logger.warning("the TLS files cannot be used; the last good ones stay: %s", error)
            return
        self._tls = found
        logger.info("the TLS files were renewed")


def build(tls: ServerTls) -> ssl.SSLContext:
    """A context with this material. Raises ssl.SSLError or ValueError."""
    return build_tls_context(tls.key, tls.certificate, tls.client_roots)
