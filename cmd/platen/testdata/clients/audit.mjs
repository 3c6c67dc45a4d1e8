// Prints, as JSON, what the audit of GraphQL over HTTP says of the server at an address,
// asked with an API token.
import { serverAudits } from "graphql-http";

const fetchFn = (url, init) =>
  fetch(url, { ...init, headers: { ...init?.headers, authorization: `Bearer ${process.env.TOKEN}` } });

const results = [];
for (const audit of serverAudits({ url: process.argv[2], fetchFn })) {
  const { id, name, status, reason } = await audit.fn();
  results.push({ id, name, status, reason });
}
console.log(JSON.stringify(results));
