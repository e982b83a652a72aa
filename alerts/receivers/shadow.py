"""The shadow: takes what rules with `mode: shadow` would have sent, and tells nobody.

A receiver like the others, so that a shadow rule goes the whole way (matched, decided, recorded once) and can
be judged by what stands in `notifications.v1` before it is allowed to wake people.
"""

from yarl import URL

from alerts.outbox import Notification
from alerts.page import Told
from alerts.receivers.receiver import Delivery
from alerts.rules.model import SHADOW
from schemas.incidents import Incident


class ShadowReceiver:
    """Accepts everything."""

    name = SHADOW
    resend_seconds = None
    can_renew = False
    urls: tuple[URL, ...] = ()

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        """Nothing leaves."""
        return Delivery(True, f"shadow rule: nobody was told (revision {incident.revision})")
