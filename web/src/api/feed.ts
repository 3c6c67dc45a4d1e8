import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react'
import { formatDocument, stringifyDocument, type AnyVariables, type TypedDocumentNode } from '@urql/core'
import { client, socket } from './client'
import { DocumentFeedDocument, ViewerDocument, type DocumentFeedSubscription, type DocumentPartsFragment } from './generated'

/** Whether what the page shows is what is true now. */
export interface Connection {
  state: 'connecting' | 'live' | 'lost'
  /** Since when nothing is heard any more, where it is lost. */
  since: Date | undefined
  /** Grows when the present has to be read anew, because some of its changes will not come. */
  epoch: number
  /** Grows with every connection: subscriptions of objects begin again. */
  turn: number
}

type Change = DocumentPartsFragment
type Listener = (changes: Change[]) => void

const longestPause = 10_000

// With __typename everywhere, as urql asks for it in queries.
const textOf = (document: TypedDocumentNode<unknown, never>) => stringifyDocument(formatDocument(document as TypedDocumentNode<unknown, AnyVariables>))

/**
 * The account's feed of documents, one for the whole page. It comes back by itself after the
 * cursor of the last event, so that nothing is missed, however long the connection was cut.
 */
class Feed {
  private connection: Connection = { state: 'connecting', since: undefined, epoch: 0, turn: 0 }
  private readonly watchers = new Set<() => void>()
  private readonly listeners = new Set<Listener>()
  private waiting: Change[] = []
  private stopped: AbortController | undefined
  private wake: () => void = () => {}

  /** Follows the feed after a cursor, until stop. */
  start(cursor: string) {
    this.stop()
    const stopped = new AbortController()
    this.stopped = stopped
    this.set({ state: 'connecting', since: undefined })
    const awake = () => this.wake()
    addEventListener('online', awake, { signal: stopped.signal })
    document.addEventListener('visibilitychange', awake, { signal: stopped.signal })
    void this.run(cursor, stopped.signal)
  }

  stop() {
    this.stopped?.abort()
    this.stopped = undefined
    this.wake()
  }

  private async run(cursor: string, stopped: AbortSignal) {
    for (let failures = 0; !stopped.aborted; ) {
      const answered = await this.follow(cursor, stopped, (event) => {
        cursor = event.cursor
        failures = 0
        if (event.__typename === 'FeedReady') this.set({ state: 'live', since: undefined, turn: this.connection.turn + 1 })
        if (event.__typename === 'FeedReset') this.set({ epoch: this.connection.epoch + 1 })
        if (event.__typename === 'DocumentChange') this.tell(event.document)
      })
      if (stopped.aborted) return
      if (answered === 'reset') continue
      if (this.connection.state !== 'lost') this.set({ state: 'lost', since: new Date() })
      if (answered === 'refused') {
        // The session may be over; if so, the answer to this says it, and the page shows the way in.
        await client.query(ViewerDocument, {}, { requestPolicy: 'network-only' }).toPromise()
      }
      failures++
      const pause = Math.min(longestPause, 250 * 2 ** Math.min(failures, 6)) * (0.5 + Math.random() / 2)
      await new Promise<void>((resolve) => {
        this.wake = resolve
        setTimeout(resolve, pause)
      })
    }
  }

  /** Follows one subscription to its end. */
  private follow(after: string, stopped: AbortSignal, each: (event: DocumentFeedSubscription['documentFeed']) => void) {
    return new Promise<'reset' | 'cut' | 'refused'>((resolve) => {
      let reset = false
      const end = socket.subscribe<DocumentFeedSubscription>(
        { query: textOf(DocumentFeedDocument), variables: { after } },
        {
          next: ({ data }) => {
            if (!data) return
            reset = data.documentFeed.__typename === 'FeedReset'
            each(data.documentFeed)
          },
          error: (reason) => resolve(reason instanceof CloseEvent && reason.code < 4400 ? 'cut' : 'refused'),
          complete: () => resolve(reset ? 'reset' : 'cut'),
        },
      )
      stopped.addEventListener('abort', end, { once: true })
    })
  }

  // Events come in bursts: a batch of a thousand would draw a list a thousand times.
  private tell(change: Change) {
    if (this.waiting.push(change) > 1) return
    setTimeout(() => {
      const changes = this.waiting
      this.waiting = []
      for (const listener of this.listeners) listener(changes)
    }, 30)
  }

  private set(change: Partial<Connection>) {
    this.connection = { ...this.connection, ...change }
    for (const watcher of this.watchers) watcher()
  }

  readonly watch = (watcher: () => void) => {
    this.watchers.add(watcher)
    return () => void this.watchers.delete(watcher)
  }
  readonly now = () => this.connection

  listen(listener: Listener) {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }
}

export const feed = new Feed()

export const useConnection = () => useSyncExternalStore(feed.watch, feed.now)

/** Calls f with the changes of documents as they happen. */
export function useFeed(f: Listener) {
  const latest = useRef(f)
  latest.current = f
  useEffect(() => feed.listen((changes) => latest.current(changes)), [])
}

/** Calls f when some changes will not come and the present has to be read anew. */
export function useReset(f: () => void) {
  const { epoch } = useConnection()
  const seen = useRef(epoch)
  useEffect(() => {
    if (seen.current !== epoch) f()
    seen.current = epoch
  }, [epoch])
}

/** Follows a subscription that begins with what is true now; it begins again with every connection. */
export function useSubscribed<Data, Variables extends Record<string, unknown>>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
  f: (data: Data) => void,
  paused = false,
) {
  const latest = useRef(f)
  latest.current = f
  const { turn } = useConnection()
  const key = JSON.stringify(variables)
  useEffect(() => {
    if (!turn || paused) return
    return socket.subscribe<Data>(
      { query: textOf(document), variables },
      {
        next: ({ data }) => data && latest.current(data),
        error: () => {}, // the feed shares the connection: it says so, and brings the next turn
        complete: () => {},
      },
    )
  }, [turn, key, paused])
}

/** Of two states of one document the later one. An action's change leaves the document's own revision as it is. */
export function later<T extends Change>(a: T, b: T): T {
  const ofActions = (d: Change) => d.actions.reduce((sum, action) => sum + action.revision, 0)
  return (b.revision - a.revision || ofActions(b) - ofActions(a)) > 0 ? b : a
}

// crowd is how many new documents a list takes on before it is read anew.
const crowd = 100

/**
 * A page of a list, kept current: what is on it changes in its place, and leaves it when it
 * matches no more; what is new comes first, where the page is the first one. again reads it anew.
 */
export function useLive<T extends Change>(read: T[] | undefined, first: boolean, matches: (d: Change) => boolean, again: () => void) {
  const [changed, setChanged] = useState<ReadonlyMap<string, Change>>(new Map())
  const newest = read?.[0]?.createdAt ?? ''
  const onPage = useMemo(() => new Set(read?.map((d) => d.id)), [read])
  const belongs = (d: Change) => onPage.has(d.id) || d.createdAt >= newest
  useFeed((changes) =>
    setChanged((known) => {
      const next = new Map([...known].filter(([, d]) => belongs(d)))
      for (const change of changes) {
        const before = next.get(change.id)
        if (belongs(change)) next.set(change.id, before ? later(before, change) : change)
      }
      return next
    }),
  )
  const arrived = [...changed.values()].filter((d) => !onPage.has(d.id) && d.createdAt >= newest && matches(d))
  const crowded = arrived.length > crowd
  useEffect(() => {
    if (crowded && first) again()
  }, [crowded, first])
  useReset(again)
  if (!read) return { documents: undefined, arrived: 0 }
  arrived.sort((a, b) => b.createdAt.localeCompare(a.createdAt))
  const kept = read
    .map((d) => {
      const change = changed.get(d.id)
      return change && later<Change>(d, change) === change ? { ...d, ...change } : d // what only the query selects stays
    })
    .filter(matches)
  const documents: (T | Change)[] = first ? [...arrived, ...kept] : kept
  return { documents, arrived: first ? 0 : arrived.length }
}

/** One document, kept current. */
export function useLiveDocument<T extends Change>(read: T | null | undefined): T | null | undefined {
  // What happens before the answer is there is kept: the answer may be older.
  const changed = useChanges((d) => !read || d.id === read.id).get(read?.id ?? '')
  if (!read || !changed) return read
  return later<Change>(read, changed) === read ? read : { ...read, ...changed }
}

/** The latest state of the documents that matter, of those that changed since the screen was opened. */
export function useChanges(matters: (d: Change) => boolean): ReadonlyMap<string, Change> {
  const [changed, setChanged] = useState<ReadonlyMap<string, Change>>(new Map())
  useFeed((changes) => {
    if (!changes.some(matters)) return
    setChanged((known) => {
      const next = new Map([...known].filter(([, d]) => matters(d)))
      for (const change of changes) {
        const before = next.get(change.id)
        if (matters(change)) next.set(change.id, before ? later(before, change) : change)
      }
      return next
    })
  })
  return changed
}
