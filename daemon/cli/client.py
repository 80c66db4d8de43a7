"""How the other commands find and ask the daemon of a state directory."""

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from daemon.access.tls import client_context
from daemon.access.token import read_token
from daemon.errors import NotFoundError, UnavailableError
from ipc.atomic import read_object
from ipc.errors import IpcError

_ANSWER_S = 10.0


def endpoint(state_dir: Path) -> str:
    """Where the daemon of *state_dir* listens, as it noted when it began. Raises NotFoundError when none ever has,
    UnavailableError when that cannot be read."""
    return _noted(state_dir)[0]


def ask(state_dir: Path, path: str) -> Any:
    """GET *path*, with the token where there is one; over https only from the very certificate that the daemon was given.

    Raises UnavailableError when nobody answers, or answers otherwise than 200."""
    base, certificate = _noted(state_dir)
    url = base + path
    request = urllib.request.Request(url)  # noqa: S310 - http to our own daemon
    if (state_dir / "token").exists():
        request.add_header("Authorization", f"Bearer {read_token(state_dir / 'token')}")
    trusting = client_context(Path(certificate)) if certificate else None
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_S, context=trusting) as answer:  # noqa: S310 - as above # nosec B310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise UnavailableError(f"{url} answered {error.code}: {error.read(500).decode(errors='replace')}") from error
    except (OSError, ValueError) as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
            raise UnavailableError(f"{url} shows another certificate than {certificate}; reload the daemon if it was renewed") from error
        raise UnavailableError(f"no daemon answers at {url}: {error}") from error


def _noted(state_dir: Path) -> tuple[str, str | None]:
    """The URL, and the certificate's file where it is https."""
    try:
        noted = read_object(state_dir / "endpoint.json")
        return str(noted["url"]), noted.get("certificate")
    except FileNotFoundError as error:
        raise NotFoundError(f"no daemon has served {state_dir} yet; start one with `onetrainerd serve`") from error
    except (OSError, IpcError, KeyError) as error:
        raise UnavailableError(f"{state_dir}/endpoint.json does not say where the daemon is: {error}; restart the daemon") from error
