"""Attachments as callers give them and as they are shown: by reference, never their bytes."""

from typing import Self

import strawberry
from strawberry import UNSET

from domain.attachments import Attachment as File
from domain.attachments import AttachmentRef

field = strawberry.field


@strawberry.input(description="A file that goes with a mail: where it is, not its bytes. A push ignores it.")
class AttachmentInput:
    """A file that goes with a mail."""

    url: str = field(
        description="An https URL on the public internet; it is fetched when the mail is sent, without redirects."
    )
    filename: str | None = field(
        default=UNSET,
        description="The name that the recipient sees, without a path; the URL's last part when left out.",
    )
    content_type: str | None = field(
        default=UNSET,
        description="Its type, such as application/pdf; when left out what the URL's server says.",
    )

    def read(self) -> AttachmentRef:
        """For the domain."""
        return AttachmentRef(url=self.url, filename=self.filename or None, content_type=self.content_type or None)


@strawberry.type(description="A file that goes with a mail.")
class Attachment:
    """A file that goes with a mail."""

    url: str = field(description="Where it is fetched from when the mail is sent.")
    filename: str = field(description="The name that the recipient sees.")
    content_type: str | None = field(description="Its type as it was given; null: what the URL's server says.")

    @classmethod
    def of(cls, file: File) -> Self:
        """From the domain."""
        return cls(url=file.url, filename=file.filename, content_type=file.content_type)
