"""The content of a mail as an SMTP server reads it (RFC 5321, section 4.5.2), for the servers that we have."""

import asyncio


async def read_mail(reader: asyncio.StreamReader, limit: int) -> bytes:
    """What comes up to the final dot, leading dots undone. Raises ValueError if it is more than `limit` bytes.

    aiosmtpd's own keeps whatever comes without a line end, however much it is.
    """
    mail = bytearray(b"\r\n")
    while not mail.endswith(b"\r\n.\r\n"):
        try:
            mail += await reader.readuntil(b".\r\n")
        except asyncio.LimitOverrunError as error:
            raise ValueError("a line without end") from error
        if len(mail) > limit:
            raise ValueError("too many lines")
    return bytes(mail[:-3].replace(b"\r\n.", b"\r\n")[2:])
