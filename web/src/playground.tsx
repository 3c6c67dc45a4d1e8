import 'graphiql/setup-workers/vite'
import type { Fetcher, FetcherReturnType } from '@graphiql/toolkit'
import { GraphiQL } from 'graphiql'
import 'graphiql/style.css'
import { buildSchema, Kind, parse, type GraphQLSchema, type OperationDefinitionNode } from 'graphql'
import { createClient } from 'graphql-ws'
import { useEffect, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { onThemeElsewhere, showTheme, theme } from './parts/theme'
import './playground.css'

const examples = [
  `# The newest documents, and what became of them.
# Ctrl-Space completes, Ctrl-Enter runs.
query NewestDocuments {
  submissions(first: 5) {
    nodes {
      id
      state
      createdAt
      file { pageCount byteSize }
      failure { code message }
      actions { type state destination }
      downloadUrl
    }
  }
}
`,
  `# Tells of every document of the account, live. Run it, then make a document in the next tab.
subscription Documents {
  documentFeed {
    ... on FeedReady { cursor }
    ... on DocumentChange {
      cursor
      document {
        __typename
        id
        state
        actions { type state destination }
      }
    }
    ... on FeedReset { reason cursor }
  }
}
`,
  `# Makes a test document.
mutation CreateDocument {
  createSubmission(input: {
    html: "<h1>Hello {{ name }}</h1>"
    data: { name: "Ada" }
    test: true
    wait: 10
  }) {
    submission { id state downloadUrl }
    userErrors { code message path }
  }
}
`,
]

/** The token that the header editor may carry. Without one the session of the page counts. */
const authorizationOf = (headers: Record<string, unknown> | undefined) => {
  const name = Object.keys(headers ?? {}).find((h) => h.toLowerCase() === 'authorization')
  return name ? String(headers![name]) : undefined
}

/** Each result of a subscription, until it ends or is stopped. It is not begun anew when it is cut: one is to see that. */
function follow(params: { query: string; variables?: Record<string, unknown>; operationName?: string | null }, authorization: string | undefined): FetcherReturnType {
  const client = createClient({
    url: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/graphql`,
    connectionParams: authorization ? { authorization } : undefined,
    retryAttempts: 0,
  })
  const results = {
    subscribe: (sink: Sink) => {
      const end = client.subscribe<Record<string, unknown>>(params, {
        next: (result) => sink.next(result),
        error: (reason) => sink.error(reason instanceof CloseEvent ? new Error(`The connection was closed: ${reason.code} ${reason.reason}`) : reason),
        complete: () => sink.complete(),
      })
      return {
        unsubscribe: () => {
          end()
          void client.dispose()
        },
      }
    },
  }
  return results as unknown as FetcherReturnType // its Observable also takes bare functions, which GraphiQL never gives
}

interface Sink {
  next: (result: unknown) => void
  error: (reason: unknown) => void
  complete: () => void
}

/** The operations of a document; none of one that does not parse: the server says why. */
function operationsOf(query: string): OperationDefinitionNode[] {
  try {
    return parse(query).definitions.filter((d) => d.kind === Kind.OPERATION_DEFINITION)
  } catch {
    return []
  }
}

/** Queries go as the page's own do, with the cookie of the session; subscriptions go over a websocket. */
function newFetcher(tellUnknown: (unknown: boolean) => void): Fetcher {
  return async (params, options) => {
    const { query } = params
    const operations = operationsOf(query)
    // Soon after another tab was chosen, GraphiQL still names the operation of the one before.
    const operationName = operations.find((o) => o.name?.value === params.operationName)?.name?.value ?? operations[0]?.name?.value
    const variables = (params.variables ?? undefined) as Record<string, unknown> | undefined
    const operation = operations.find((o) => o.name?.value === operationName)
    if (operation?.operation === 'subscription') return follow({ query, variables, operationName }, authorizationOf(options?.headers))
    const response = await fetch('/graphql', {
      method: 'POST',
      headers: { ...options?.headers, 'Content-Type': 'application/json', Accept: 'application/graphql-response+json, application/json' },
      body: JSON.stringify({ query, operationName, variables }),
    })
    const answer = await response.json().catch(() => {
      throw new Error(`The server answered with HTTP ${response.status}.`)
    })
    tellUnknown(Boolean(answer.errors?.some((e: { extensions?: { code?: string } }) => e.extensions?.code === 'UNAUTHENTICATED')))
    return answer
  }
}

/** The contract as it is published: one request, for whoever is signed in or not. Without it GraphiQL asks for it by introspection. */
async function readSchema(): Promise<GraphQLSchema | undefined> {
  try {
    const response = await fetch('/schema.graphql')
    return response.ok ? buildSchema(await response.text()) : undefined
  } catch {
    return undefined
  }
}

function Playground({ schema }: { schema: GraphQLSchema | undefined }) {
  const [chosen, setChosen] = useState(theme)
  const [unknown, setUnknown] = useState(false)
  useEffect(
    () =>
      onThemeElsewhere(() => {
        showTheme()
        setChosen(theme())
      }),
    [],
  )

  const [fetcher] = useState(() => newFetcher(setUnknown))

  return (
    <>
      <header className="bar">
        <a href="/">← Platen</a>
        <h1>Playground</h1>
        <a className="end" href="/schema.graphql" target="_blank">
          The schema
        </a>
        {unknown && (
          <p role="alert">
            Nobody is signed in here. <a href="/">Sign in on the page</a> and come back, or put a token into the editor of headers: <code>{'{"Authorization": "Bearer …"}'}</code>
          </p>
        )}
      </header>
      <main>
        <GraphiQL fetcher={fetcher} schema={schema} defaultTabs={examples.map((query) => ({ query }))} forcedTheme={chosen} shouldPersistHeaders={false} showPersistHeadersSettings={false}>
          <GraphiQL.Logo> </GraphiQL.Logo>
        </GraphiQL>
      </main>
    </>
  )
}

showTheme()
void readSchema().then((schema) => createRoot(document.getElementById('page')!).render(<Playground schema={schema} />))
