"""Hides the secrets in URIs, for everything that is printed or written."""

import re
from typing import Final

_PASSWORD: Final = re.compile(r"(?<=://)([^\s/@?#:]*):[^\s]*@")
"""User and password. The password may hold any character but a space, up to the last ``@``.

So ``host:5000/a@b`` is taken for a user and a password too: better one word too many is hidden.
"""

_UNQUOTED: Final = re.compile(r"://[^\s/@?#:]*:\S*[/?#]\S*@")

_SECRET_VALUE: Final = re.compile(
    r"([?&;][^=&;\s]*(?:key|secret|token|passw|pwd|sig|credential|auth)[^=&;\s]*=)"
    r"[^&;\s'\"]*[^&;\s'\":,]",
    re.IGNORECASE,
)
"""Values of a query whose names say that they are secret, as in ``?secret_key=…``."""

MASK: Final = "***"


def masked(text: str) -> str:
    """A URI, or a text with URIs in it, with ``***`` in place of passwords and secret values.

    User, host, path and other values stay, so that the masks of two places differ.
    """
    text = _PASSWORD.sub(rf"\1:{MASK}@", text)
    return _SECRET_VALUE.sub(rf"\1{MASK}", text)


def has_unquoted_password(uri: str) -> bool:
    """Whether a password holds ``/``, ``?`` or ``#``, at which a URI is cut into its parts."""
    return _UNQUOTED.search(uri) is not None
