"""Who would be told, tried without telling anybody: each receiver is built, and connected to where it can be.

Nothing is sent: the connection is opened, over TLS where the address says so, and closed again.
"""

import socket
import ssl
from collections.abc import Iterator

from yarl import URL

from alerts.page import Pages
from alerts.receivers import ReceiverConfig, build
from alerts.receivers.addresses import PrivateAddressError, judged
from alerts.receivers.heartbeat import beating
from alerts.routing.files import load_routes
from alerts.rules.files import SHIPPED, load_rules, require_receivers
from alerts.rules.model import SHADOW
from pipeline.app import links, receiver_configs
from pipeline.checks.finding import Finding
from pipeline.clock import now_micros
from pipeline.settings import Settings
from schemas.times import MICROS

OVER_TLS = ("https", "smtps")


def receivers(settings: Settings) -> Iterator[Finding]:
    """Every rule's receiver is there, and every receiver lets itself be connected to."""
    rules = load_rules(settings.rules_dir or SHIPPED)
    heartbeat = None
    if settings.routes_file is None:
        require_receivers(rules, settings.receivers.keys())
    else:
        heartbeat = load_routes(settings.routes_file, settings.receivers.keys()).heartbeat
    configs = receiver_configs(settings)
    built = build(configs, now=now_micros, pages=Pages(rules, links(settings)))
    if heartbeat is None:
        says = "none: nobody is paged when Aftermath itself is dead. Name a receiver under heartbeat: in routes.yml."
        yield Finding("heartbeat", "warn", says)
    else:
        beating(built, heartbeat.receiver)
        yield Finding("heartbeat", "ok", f"to {heartbeat.receiver}, every {heartbeat.interval / MICROS:g} s")
    for name, receiver in built.items():
        if name == SHADOW:
            continue
        check = f"receiver {name}"
        faults = [fault for url in receiver.urls if (fault := fault_of(url, configs[name]))]
        for fault in faults:
            yield Finding(check, "todo", fault, is_down=True)
        if not receiver.urls:
            yield Finding(check, "warn", f"{configs[name].kind}: pages go to the log of the worker, and wake nobody")
        elif not faults:
            places = ", ".join(place(url) for url in receiver.urls)
            yield Finding(check, "ok", f"{configs[name].kind}: {places} can be connected to; nothing was sent")


def fault_of(url: URL, config: ReceiverConfig) -> str | None:
    """Why an address cannot be connected to, and what to do."""
    host, port = str(url.host), int(url.port or 0)
    try:
        address = judged(host, port, config.allow_private)
        with socket.create_connection((address, port), config.timeout_seconds) as plain:
            if url.scheme in OVER_TLS:
                ssl.create_default_context().wrap_socket(plain, server_hostname=host).close()
    except PrivateAddressError as error:
        return f"{place(url)} is the private address {error}; set allow_private if that is meant."
    except socket.gaierror:
        return f"{place(url)}: the name cannot be resolved; check the url."
    except ssl.SSLError:
        return f"{place(url)}: the TLS certificate or handshake was refused; check the url, and its certificate."
    except TimeoutError:
        return (
            f"{place(url)} does not answer within {config.timeout_seconds:g} s; check that this machine may reach it."
        )
    except OSError as error:
        return f"{place(url)} is not reachable ({error.strerror}); check that it is up and the url is right."
    return None


def place(url: URL) -> str:
    """A url as it may be shown: the path of many is a key."""
    return f"{url.host}:{url.port}"
