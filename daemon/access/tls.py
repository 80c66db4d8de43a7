"""TLS from a certificate file and a key file: what the daemon serves with, and what the command line trusts.

The certificate may be a chain, its own first. All that is said of the files is found out before anybody connects: a pair is tried by a
handshake in memory, as a client would meet it.
"""

import logging
import os
import ssl
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from daemon.errors import InvalidError

_LOG = logging.getLogger(__name__)
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of 1.3 are all good."""
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of x509_vfy.h, for which the ssl module has no name."""
_SOON_S = 14 * 86400
_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True)
class Certificate:
    """A pair that works together. Times are Unix seconds."""

    context: ssl.SSLContext
    begins: float
    expires: float

    def trouble(self, now: float) -> tuple[int, str] | None:
        """A level of `logging`, and what clients will complain of; None: nothing."""
        if now < self.begins:
            return logging.ERROR, f"is not yet valid: it begins at {_day(self.begins)}; look at the clock of this machine"
        if now >= self.expires:
            return logging.ERROR, f"has expired at {_day(self.expires)}: clients refuse it; renew it and reload"
        if now >= self.expires - _SOON_S:
            return logging.WARNING, f"expires at {_day(self.expires)}; renew it and reload"
        return None


class ServerTls:
    """The context that the server listens with, whose certificate can be changed for the connections to come.

    An expired certificate is served, and told in the log: refusing to start would take the watches away from the trainings.
    """

    def __init__(self, cert: Path, key: Path, now: Callable[[], float] = time.time) -> None:
        """Raises InvalidError as `load_certificate`."""
        self._cert, self._key, self._now = cert, key, now
        self._certificate = load_certificate(cert, key)
        self.context = self._certificate.context
        self.context.sni_callback = self._choose
        self._tell()

    @property
    def expires(self) -> float:
        """When the certificate in force ends, in Unix seconds."""
        return self._certificate.expires

    def prepared(self) -> Callable[[], None]:
        """Read the files again; what is returned brings them into force. Raises InvalidError as `load_certificate`."""
        certificate = load_certificate(self._cert, self._key)

        def commit() -> None:
            self._certificate = certificate
            self._tell()

        return commit

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """OpenSSL asks for each connection, also of a client that names no server."""
        connection.context = self._certificate.context

    def _tell(self) -> None:
        if trouble := self._certificate.trouble(self._now()):
            _LOG.log(trouble[0], "the certificate %s %s", self._cert, trouble[1])


def load_certificate(cert: Path, key: Path) -> Certificate:
    """The pair in those files.

    Raises:
        InvalidError: a file cannot be read, is no PEM, is encrypted, or the key is that of another certificate (code `bad_tls`).
    """
    first = _first_of(_read(cert, "tls.cert"), cert)
    _read(key, "tls.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=partial(_encrypted, key))
        begins, expires = _tried(context, first)
    except OSError as error:  # ssl.SSLError is one
        raise _refused(cert, key, error) from error
    if key.stat().st_mode & 0o007:
        _LOG.warning("everybody on this machine can read the key %s; chmod o= %s", key, key)
    return Certificate(context, begins, expires)


def client_context(cert: Path) -> ssl.SSLContext:
    """For a client on the same machine: it trusts the very certificate in *cert*, whatever its name and its end, and no other.

    Raises:
        InvalidError: as `load_certificate`.
    """
    return _trusting(_first_of(_read(cert, "tls.cert"), cert))


def _trusting(pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # the name is no evidence beside the certificate itself
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    context.load_verify_locations(cadata=pem)
    return context


def _tried(server: ssl.SSLContext, pem: str) -> tuple[float, float]:
    """From when to when the certificate is valid, as a client sees it after a handshake."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = server.wrap_bio(to_server, to_client, server_side=True)
    asking = _trusting(pem).wrap_bio(to_client, to_server)
    for _ in range(8):
        waiting = [side for side in (asking, serving) if not _has_shaken(side)]
        if not waiting:
            break
    shown = asking.getpeercert() or {}
    return ssl.cert_time_to_seconds(str(shown["notBefore"])), ssl.cert_time_to_seconds(str(shown["notAfter"]))


def _has_shaken(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _encrypted(key: Path) -> str:
    """In the place of a password, for which OpenSSL would ask on the terminal."""
    raise InvalidError(
        f"tls.key: {key} is encrypted, and a service has nobody to ask for the password; `openssl pkey -in … -out …` writes it without one",
        code="bad_tls",
    )


def _refused(cert: Path, key: Path, error: OSError) -> InvalidError:
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or error.strerror or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return InvalidError(f"tls.key: {key} is not the key of the certificate {cert}; name the two that belong together", code="bad_tls")
    return InvalidError(
        f"tls.cert {cert} and tls.key {key} do not make a server's certificate ({reason}): both should be PEM, the certificate's own first",
        code="bad_tls",
    )


def _read(path: Path, setting: str) -> bytes:
    """What is in *path*, links followed: certbot's files are links. Never waits for the writer of a FIFO."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                return file.read(_LIMIT_BYTES)
        reason = "it is not a regular file"
    except OSError as error:
        reason = str(error.strerror)
    raise InvalidError(f"{setting}: {path} cannot be read by the daemon's user: {reason}", code="bad_tls")


def _first_of(data: bytes, path: Path) -> str:
    """The first certificate of a chain."""
    text = data.decode("ascii", "replace")
    begin, end = text.find(ssl.PEM_HEADER), text.find(ssl.PEM_FOOTER)
    if not 0 <= begin < end:
        raise InvalidError(f"tls.cert: {path} holds no certificate in PEM form ({ssl.PEM_HEADER} …)", code="bad_tls")
    return text[begin : end + len(ssl.PEM_FOOTER)] + "\n"


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
