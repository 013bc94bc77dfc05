// For the test of the table of errors: where Apollo Client and urql put the code, for a bad key and for a bad id.
import { CombinedGraphQLErrors, gql } from "@apollo/client";
import { apollo } from "./recipes/apollo.mjs";
import { urql } from "./recipes/urql.mjs";

const { HELIOGRAPH_URL, HELIOGRAPH_KEY } = process.env;
const withKey = (key) => () => ({ Authorization: `Bearer ${key}` });
const CANCEL = 'mutation { cancel_notification(id: "ntf_1") { success } }';
const WATCH = 'subscription { notification_status(id: "ntf_1") { cursor } }';
const say = (...words) => console.log(words.join(" "));

const mutation = gql(CANCEL);
await apollo(HELIOGRAPH_URL, withKey("hg_wrong")).mutate({ mutation }).catch((error) => {
  say("Apollo Client", "call", CombinedGraphQLErrors.is(error) && error.errors[0].extensions.code);
});
await new Promise((complete) => {
  const next = ({ error }) => say("Apollo Client", "subscription", error.errors[0].extensions.code);
  apollo(HELIOGRAPH_URL, withKey(HELIOGRAPH_KEY)).subscribe({ query: gql(WATCH) }).subscribe({ next, complete });
});
const refused = await urql(HELIOGRAPH_URL, withKey("hg_wrong")).mutation(CANCEL, {});
say("urql", "call", refused.error.graphQLErrors[0].extensions.code);
urql(HELIOGRAPH_URL, withKey(HELIOGRAPH_KEY)).subscription(WATCH, {}).subscribe(({ error, hasNext }) => {
  if (hasNext) say("urql", "subscription", error.graphQLErrors[0].extensions.code);
});
