"""What single values of the settings must look like. Each raises ValueError with the end of a sentence."""

from urllib.parse import urlsplit


def known_providers(names: tuple[str, ...], known: frozenset[str]) -> tuple[str, ...]:
    """`names`, each one known and there once."""
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"takes {', '.join(sorted(known))}, not {', '.join(unknown) or 'nothing'}")
    if len(set(names)) < len(names):
        raise ValueError("names a provider twice")
    return names


def origin(text: str) -> str:
    """An origin as browsers name it: in lower case, without the port that its scheme has anyway."""
    parts = urlsplit(text)
    port = parts.port  # a port that cannot be raises ValueError by itself
    if text == "*":
        return text
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError(f"takes origins such as https://shop.example, not {text}")
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port in (None, usual) else f":{port}")


def host_and_port(text: str) -> tuple[str, int]:
    """`host:port`."""
    parts = urlsplit(f"//{text}")
    port = parts.port  # a port that cannot be raises ValueError by itself
    if not parts.hostname or port is None or parts.path or parts.query or parts.fragment or parts.username:
        raise ValueError(f"takes host:port such as 127.0.0.1:2525, not {text}")
    return parts.hostname, port


def with_scheme(url: str, schemes: tuple[str, ...]) -> str:
    """`url`, which begins with one of `schemes`."""
    if not url.startswith(schemes):
        raise ValueError(f"must start with {' or '.join(schemes)}")
    return url


def allowed_host(text: str) -> str:
    """A host, or host:port, in lower case."""
    parts = urlsplit(f"//{text}")
    _ = parts.port  # a port that cannot be raises ValueError by itself
    if not parts.hostname or parts.path or parts.query or parts.fragment or parts.username:
        raise ValueError(f"takes hosts such as files.internal or 127.0.0.1:9000, not {text}")
    return text.lower()
