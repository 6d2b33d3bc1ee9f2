"""Which collections there are, and where an alias leads."""

from qdrant_client import grpc as q

from streamdex.errors import SuspectFault
from streamdex.index.client.connection import Connection
from streamdex.index.client.faults import as_account_fault


async def plain_collections(connection: Connection) -> frozenset[str]:
    """The names of the collections themselves, without aliases."""
    answer = await connection.collections("List", q.ListCollectionsRequest())
    return frozenset(str(collection.name) for collection in answer.collections)


async def aliases(connection: Connection) -> dict[str, str]:
    """Which collection each alias leads to."""
    answer = await connection.collections("ListAliases", q.ListAliasesRequest())
    return {str(each.alias_name): str(each.collection_name) for each in answer.aliases}


async def lead_alias(connection: Connection, alias: str, points: str) -> None:
    """Let an alias lead to a collection, from wherever it leads now, in one step.

    One action replaces an alias that is there, so a search finds either the old collection or the new one; deleting and
    creating it would be two, between which there is none. Two workers may do so at once: they name the same collection.
    """
    request = q.ChangeAliases(timeout=connection.server_timeout_s)
    request.actions.add().create_alias.CopyFrom(q.CreateAlias(collection_name=points, alias_name=alias))
    try:
        await connection.collections("UpdateAliases", request)
    except SuspectFault as fault:
        raise as_account_fault(fault) from None
