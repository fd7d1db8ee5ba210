"""Who may send to one listener; looked at before a request's body is read."""

from collections.abc import Iterable
from typing import Any

import grpc

from tocsin.receivers.config import GrpcReceiverConfig, HttpReceiverConfig
from tocsin.receivers.status import FORBIDDEN, UNAUTHENTICATED, Refusal
from tocsin.security.certificates import Certificates
from tocsin.security.roles import Role
from tocsin.security.tokens import Tokens, bearer_of

__all__ = ["Gate", "grpc_credentials"]


class Gate:
    """One listener's tokens; without any, everybody may send."""

    def __init__(self, config: GrpcReceiverConfig | HttpReceiverConfig) -> None:
        self._tokens = Tokens(config.auth.tokens if config.auth is not None else ())

    def adopt(self, config: GrpcReceiverConfig | HttpReceiverConfig) -> None:
        """Know the tokens of `config` from the next request on.

        Whether tokens are asked for at all stays as it was: a listener's address and openness belong together.
        """
        if config.auth is not None and self._tokens:
            self._tokens.replace(config.auth.tokens)

    def refusal(self, authorization: Iterable[str | bytes]) -> Refusal | None:
        """Return why a request is not taken, or None, by the values of its `authorization` headers or metadata."""
        if not self._tokens:
            return None
        values = [value.decode("latin-1") if isinstance(value, bytes) else value for value in authorization]
        principal = self._tokens.find(bearer_of(values))
        if principal is None:
            return UNAUTHENTICATED
        return None if principal.may(Role.INGEST) else FORBIDDEN


def grpc_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Return credentials by which gRPC asks for the certificate in force at each new connection."""
    given = certificates.current

    def newest() -> Any:  # noqa: ANN401  # grpcio's stubs do not name it
        # Called in a thread of gRPC's own; None means that nothing is new.
        nonlocal given
        current = certificates.current
        if current is given:
            return None
        given = current
        return grpc.ssl_server_certificate_configuration([(current.key, current.chain)], current.client_ca)

    first = grpc.ssl_server_certificate_configuration([(given.key, given.chain)], given.client_ca)
    return grpc.dynamic_ssl_server_credentials(first, newest, require_client_authentication=given.client_ca is not None)
