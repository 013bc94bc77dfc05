"""Postfix for tests: a private one, with its own configuration and queue, that is root's as Postfix must be."""

import os
import pwd
from pathlib import Path

from tests.servers.install import POSTFIX, programs
from tests.servers.ports import free_ports, talk
from tests.servers.process import ServerProcess

_ACCOUNT = "postfix"
_SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
"""


class PostfixServer(ServerProcess):
    """Takes mail on loopback and hands it to `relay`, a port there; mail to the domain of `returns` goes the way
    that it gives, such as `lmtp:[127.0.0.1]:2525`.

    A mail that is put off is tried again every second, and its sender hears of it after one.
    """

    name = "postfix"

    def __init__(self, *, relay: int, returns: tuple[str, str]) -> None:
        super().__init__()
        [self.port] = free_ports(1)
        self._relay = relay
        self._returns = returns

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}?starttls=never"

    def prepare(self) -> None:
        self.directory.chmod(0o755)  # its processes have an account of their own
        config, queue, data = (self.directory / name for name in ("config", "queue", "data"))
        for folder in (config, queue, data):
            folder.mkdir(exist_ok=True)
        account = pwd.getpwnam(_ACCOUNT)
        os.chown(data, account.pw_uid, account.pw_gid)
        (config / "master.cf").write_text(_SERVICES.format(port=self.port))
        settings = self._settings(queue, data)
        (config / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))

    def _settings(self, queue: Path, data: Path) -> dict[str, str]:
        domain, way = self._returns
        return {
            "compatibility_level": "2",
            "queue_directory": str(queue),
            "data_directory": str(data),
            "maillog_file": "/dev/stdout",
            "mail_owner": _ACCOUNT,
            "myhostname": "relay.example.com",
            "smtpd_banner": f"relay.example.com ESMTP {self.directory.name}",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": "loopback-only",
            "inet_protocols": "ipv4",
            "relayhost": f"[127.0.0.1]:{self._relay}",
            "transport_maps": f"inline:{{ {{ {domain} = {way} }} }}",
            "disable_dns_lookups": "yes",
            "smtp_host_lookup": "native",
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "smtp_tls_security_level": "none",
            "smtpd_tls_security_level": "none",
            "queue_run_delay": "1s",
            "minimal_backoff_time": "1s",
            "maximal_backoff_time": "1s",
            "delay_warning_time": "1s",
        }

    def command(self) -> list[str]:
        return [str(programs(POSTFIX)["postfix"]), "-c", str(self.directory / "config"), "start-fg"]

    def is_ready(self) -> bool:
        return self.directory.name.encode() in talk(self.port, b"")
