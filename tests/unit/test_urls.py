"""Which URLs a push may carry."""

import pytest

from domain.urls import image_problem, link_problem

FINE = [
    "https://cdn.example/parcel.png",
    "http://shop.example:8080/orders/17?x=1#top",
    "https://münchen.example/bild.png",
    "https://8.8.8.8/x.png",
    "https://[2606:4700:4700::1111]/x.png",
    "HTTPS://CDN.EXAMPLE/A",
    "https://local.example/",
    "https://10.example/",
    "https://cdn.example/a@b",
    "https://cdn.example/?next=http://localhost/",
]
NOT_EVEN_LINKS = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "file:///etc/passwd",
    "ftp://files.example/x",
    "myapp://orders/17",
    "//cdn.example/x.png",
    "cdn.example/x.png",
    "",
    "https://",
    "https:///x",
    "https://user:secret@cdn.example/x.png",
    "https://user@cdn.example/x.png",
    "https://@cdn.example/",
    "https://cdn.example:99999/",
    "https://cdn.example:x/",
    "https://[::1/",
    "https://[nonsense]/",
    "https://cdn..example/",
    "https://local\u00adhost/",
    "https://local\u200bhost/",
    "https://%31%32%37.0.0.1/",
    "https://1.2.3.4.5/",
    "https://999.1.1.1/",
    "https://cdn.example/a b",
    "https://cdn.example/\r\nx: y",
    "https://cdn.example/\0",
    "https:\\\\127.0.0.1\\x",
    "java\tscript:alert(1)",
    " https://cdn.example/",
]
PRIVATE = [
    "http://localhost/x.png",
    "http://LOCALHOST:8000/x.png",
    "http://localhost./x.png",
    "http://a.localhost/x.png",
    "http://printer.local/x.png",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://router/x.png",
    "http://nas.lan/x.png",
    "http://hub.home.arpa/x.png",
    "http://127.0.0.1/x.png",
    "http://127.1/x.png",
    "http://2130706433/x.png",
    "http://0x7f000001/x.png",
    "http://0x7f.1/x.png",
    "http://0177.0.0.1/x.png",
    "http://127.0.0.1./x.png",
    "http://0/x.png",
    "http://0.0.0.0/x.png",
    "http://10.1.2.3/x.png",
    "http://172.16.0.1/x.png",
    "http://192.168.1.1/x.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.64.0.1/x.png",
    "http://224.0.0.1/x.png",
    "http://255.255.255.255/x.png",
    "http://[::1]/x.png",
    "http://[::]/x.png",
    "http://[fe80::1]/x.png",
    "http://[fd00::1]/x.png",
    "http://[ff02::1]/x.png",
    "http://[::ffff:127.0.0.1]/x.png",
    "http://[::ffff:7f00:1]/x.png",
    "http://[64:ff9b::7f00:1]/x.png",
    "http://[2002:7f00:1::]/x.png",
    "http://[2001:db8::1]/x.png",
    "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/x.png",
    "http://127\u30020\uff0e0\uff611/x.png",
    "http://ⓛocalhost/x.png",
]


@pytest.mark.parametrize("url", FINE)
def test_a_public_address_is_fine_for_both(url: str) -> None:
    assert link_problem(url) is None
    assert image_problem(url) is None


@pytest.mark.parametrize("url", NOT_EVEN_LINKS)
def test_what_is_no_plain_web_address_is_neither(url: str) -> None:
    assert link_problem(url)
    assert image_problem(url)


@pytest.mark.parametrize("url", PRIVATE)
def test_a_private_address_may_be_opened_but_not_fetched(url: str) -> None:
    assert link_problem(url) is None
    assert image_problem(url) == "names a host that is not on the public internet"


def test_nat64_of_a_public_address_is_public() -> None:
    assert image_problem("http://[64:ff9b::808:808]/x.png") is None
