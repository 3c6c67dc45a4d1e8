import { Client, cacheExchange, fetchExchange, mapExchange, subscriptionExchange, type AnyVariables, type CombinedError, type TypedDocumentNode } from '@urql/core'
import { createClient as createSocket } from 'graphql-ws'

/** What a screen shows where something was refused or went wrong. */
export interface Problem {
  message: string
  code: string
  /** Where in the arguments: ["input", "content", "html"]. */
  path: string[]
  line?: number
  column?: number
}

// silence is for how long a server may leave a ping unanswered: then the connection is gone,
// whatever the operating system still believes.
const pingEvery = 10_000
const silence = 5_000

let pinged: ReturnType<typeof setTimeout> | undefined

/**
 * The websocket of all subscriptions. It does not connect again by itself: the feed does, with
 * the cursor of the last event, and so do the other subscriptions once it is back.
 */
export const socket = createSocket({
  url: () => `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/graphql`,
  retryAttempts: 0,
  lazyCloseTimeout: 5_000,
  keepAlive: pingEvery,
  on: {
    ping: (received) => {
      if (received) return
      clearTimeout(pinged)
      pinged = setTimeout(() => socket.terminate(), silence)
    },
    pong: (received) => {
      if (received) clearTimeout(pinged)
    },
    closed: () => clearTimeout(pinged),
  },
})

let onSignedOut: () => void = () => {}
/** Says what happens when the session turns out to be over. */
export function whenSignedOut(f: () => void) {
  onSignedOut = f
}

function newClient() {
  return new Client({
    url: '/graphql',
    preferGetMethod: false,
    requestPolicy: 'cache-and-network',
    exchanges: [
      mapExchange({
        onError: (error) => {
          if (error.graphQLErrors.some((e) => e.extensions?.code === 'UNAUTHENTICATED') || error.response?.status === 401) onSignedOut()
        },
      }),
      cacheExchange,
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: (request) => ({
          subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query: request.query ?? '', variables: request.variables }, sink) }),
        }),
      }),
    ],
  })
}

export let client = newClient()
/** Forgets everything that was read: for another account. */
export function forget() {
  client = newClient()
}

/** The sentences of an error that is not an expected one. */
export function problemsOf(error: CombinedError | undefined): Problem[] {
  if (!error) return []
  if (error.networkError) {
    const status = error.response?.status as number | undefined
    const message = status
      ? `The server answered with HTTP ${status}. Try again soon; its log has more.`
      : 'The server cannot be reached. Look whether it runs and whether this machine is connected, then try again.'
    return [{ message, code: 'UNREACHABLE', path: [] }]
  }
  return error.graphQLErrors.map((e) => ({ message: e.message, code: String(e.extensions?.code ?? ''), path: [] }))
}

interface UserErrors {
  userErrors: { message: string; code: string; path: string[] | null; line?: number; column?: number }[]
}

/** The expected refusals of a mutation's payload. */
export function refusals(payload: UserErrors | null | undefined): Problem[] {
  return (payload?.userErrors ?? []).map((e) => ({ ...e, path: e.path ?? [] }))
}

/** Sends a mutation and answers with its payload, or with what is wrong. */
export async function send<Data, Variables extends AnyVariables, Field extends keyof Data & string>(
  field: Field,
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<{ payload: Data[Field] | undefined; problems: Problem[] }> {
  const result = await client.mutation(document, variables).toPromise()
  const payload = result.data?.[field]
  const problems = [...problemsOf(result.error), ...refusals(payload as UserErrors | undefined)]
  return { payload: problems.length ? undefined : (payload ?? undefined), problems }
}

/** Signs in with a token, or with the key of a start address. */
export async function signIn(by: { token: string } | { start: string }): Promise<Problem[]> {
  let response: Response
  try {
    response = await fetch('/session', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(by) })
  } catch {
    return [{ message: 'The server cannot be reached. Look whether it runs, then try again.', code: 'UNREACHABLE', path: [] }]
  }
  if (response.ok) return []
  const answer = await response.json().catch(() => ({}))
  const errors = (answer.errors ?? []) as { message: string; extensions?: { code?: string } }[]
  if (!errors.length) return [{ message: `The server answered with HTTP ${response.status}.`, code: '', path: [] }]
  return errors.map((e) => ({ message: e.message, code: e.extensions?.code ?? '', path: [] }))
}

export async function signOut() {
  await fetch('/session', { method: 'DELETE' })
}
