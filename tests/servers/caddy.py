"""A private Caddy: the proxy of `compose.yml`, before a gateway of this machine."""

import urllib.error
import urllib.request
from pathlib import Path

from tests.servers.process import ServerProcess
from tests.servers.roles import free_port
from tests.servers.unpacked import program


class CaddyServer(ServerProcess):
    """Caddy with a configuration of ours, which reads the gateway's place and its own from the environment."""

    name = "caddy"

    def __init__(self, configuration: Path, gateway_port: int) -> None:
        super().__init__()
        self._configuration, self._gateway_port = configuration, gateway_port
        self.port, self._health_port = free_port(), free_port()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Nothing: it keeps nothing."""

    def command(self) -> list[str]:
        """Caddy in the foreground."""
        return [str(program("caddy")), "run", "--config", str(self._configuration), "--adapter", "caddyfile"]

    def environment(self) -> dict[str, str]:
        """What its container gets, with this machine's addresses."""
        home = str(self.directory)
        return {
            "SITE_ADDRESS": self.url,
            "GATEWAY": "127.0.0.1",
            "GATEWAY_PORT": str(self._gateway_port),
            "HEALTH_PORT": str(self._health_port),
            "HOME": home,
            "XDG_DATA_HOME": home,
            "XDG_CONFIG_HOME": home,
        }

    def is_ready(self) -> bool:
        """Whether it answers its own health check."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health_port}/", timeout=2) as answer:
                return bool(answer.status == 204)
        except (urllib.error.URLError, OSError):
            return False
