"""The two arguments of every list."""

from typing import Annotated

import strawberry

PageNumber = Annotated[int, strawberry.argument(description="Which page; the first one is 1.")]
Limit = Annotated[int, strawberry.argument(description="Items on a page, 1 to 100.")]
