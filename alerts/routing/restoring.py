"""After a restart: the router as it was, from the records of `notifications.v1` that the outbox has taken back."""

from dataclasses import replace

from alerts.outbox import Notification, Outbox
from alerts.routing.router import Router
from schemas.codecs.single import decode_incident

UNDECIDED = ("held", "pending", "failed")


def restore(router: Router, outbox: Outbox, partitions: set[int], now: int) -> None:
    """Tell the router what receivers know to be firing, and decide anew what is held, may have left, or failed.

    Of the incidents of these partitions of incidents.v1 alone: the others are another worker's. What may have left
    leaves again as the message that it was.
    """
    mine = [record for record in outbox.records() if record.partition in partitions and record.incident]
    for record in outbox.open_ones():
        if record.partition in partitions and record.incident:
            router.restore(record, decode_incident(record.incident), now)
    newest: dict[tuple[str, str], Notification] = {}
    for record in mine:
        if record.state in UNDECIDED:
            place = (record.tenant, record.incident_id)
            newest[place] = max(newest.get(place, record), record, key=lambda one: one.revision)
    since = {record.dedup_key: record.at for record in mine if record.state == "held"}
    left = {record.dedup_key for record in mine if record.state == "pending"}
    for record in newest.values():
        incident = decode_incident(record.incident)
        for decided in outbox.decide(incident):
            at = since.get(decided.dedup_key, decided.at)
            notification = replace(decided, partition=record.partition, at=at)
            router.take(notification, incident, now, may_have_left=notification.dedup_key in left)
