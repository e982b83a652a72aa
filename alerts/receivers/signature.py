"""Standard Webhooks 1.0: how a webhook proves that it is ours and not a replay.

webhook-id         the dedup key: the same in every attempt, so that the receiver can fold them
webhook-timestamp  seconds UTC of the attempt; the receiver refuses what is older than five minutes
webhook-signature  v1,<base64 of HMAC-SHA256 over `id.timestamp.body`>
"""

import base64
import binascii
import hashlib
import hmac

from schemas.errors import ConfigurationError

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


def parse_secret(secret: str, receiver: str) -> bytes:
    """The key of a secret as people are shown it. Raises ConfigurationError, never with the secret in it."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else b""
    except binascii.Error:
        key = b""
    if len(key) not in KEY_BYTES:
        raise ConfigurationError(
            f"receiver {receiver}: the secret must be {PREFIX} and the base64 of 24 to 64 random bytes;"
            f" make one with: echo {PREFIX}$(openssl rand -base64 32)"
        )
    return key


def headers(message_id: str, timestamp: int, body: bytes, key: bytes | None) -> dict[str, str]:
    """The three headers, or two where no secret is configured."""
    found = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    if key is not None:
        signed = f"{message_id}.{timestamp}.".encode() + body
        digest = hmac.new(key, signed, hashlib.sha256).digest()
        found["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return found
