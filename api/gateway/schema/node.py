"""The interface of everything that has an id."""

import strawberry


@strawberry.interface(description="Something with an id of its own. The prefix of the id names its kind.")
class Node:
    """Something with an id of its own."""

    id: strawberry.ID = strawberry.field(description="Unique among everything; ids of one kind sort by age.")
