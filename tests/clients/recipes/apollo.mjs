import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from "@apollo/client";
import { SetContextLink } from "@apollo/client/link/context";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { relayStylePagination } from "@apollo/client/utilities";
import { OperationTypeNode } from "graphql";
import { connect } from "./connect.mjs";

/** An Apollo Client: subscriptions over one WebSocket, the rest over HTTP. */
export function apollo(url, credentials) {
  const authorized = new SetContextLink(async ({ headers }) => ({ headers: { ...headers, ...(await credentials()) } }));
  const http = authorized.concat(new HttpLink({ uri: `${url}/graphql` }));
  const socket = new GraphQLWsLink(connect(url, credentials));
  const isSubscription = ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION;
  return new ApolloClient({
    link: ApolloLink.split(isSubscription, socket, http),
    cache: new InMemoryCache({
      typePolicies: { Query: { fields: { notifications_connection: relayStylePagination(["filter"]) } } },
    }),
  });
}
