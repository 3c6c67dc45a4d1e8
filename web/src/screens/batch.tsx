import { useEffect, useRef } from 'react'
import { useRead } from '../api/read'
import { Link, useParams, useSearchParams } from 'wouter'
import { problemsOf } from '../api/client'
import { later, useChanges, useReset } from '../api/feed'
import { BatchDocument, BatchSubmissionsDocument, type BatchPartsFragment, type DocumentState } from '../api/generated'
import { Announce, useCalm } from '../parts/announce'
import { BatchProgress, useLiveBatch } from '../parts/batch-progress'
import { DocumentsTable } from '../parts/documents-table'
import { Busy, Copy, count, duration, Empty, Json, Pager, Problems, Screen, Section, Select, State, Tag, Time, usePages } from '../parts/parts'

const back = { to: '/batches', name: 'Batches' }

/** A batch's page: how far it is, and its submissions in their order. */
export function Batch() {
  const { id = '' } = useParams()
  const [{ data, fetching, error, stale }, again] = useRead({ query: BatchDocument, variables: { id } })
  useReset(() => again({ requestPolicy: 'network-only' }))
  const read = data?.submissionBatch
  if (read) return <Loaded of={read} />
  const missing = read === null && !fetching && !stale
  return (
    <Screen title={missing ? 'There is no batch here' : 'Batch'} back={back}>
      <Problems of={problemsOf(error)} />
      {missing ? (
        <Empty title={`No batch with the id ${id} in this account`}>
          <p>It may be of another account, or a live one that a test token does not see.</p>
          <Link to="/batches" className="button">
            Go to the batches
          </Link>
        </Empty>
      ) : (
        !error && <Busy />
      )}
    </Screen>
  )
}

function Loaded({ of }: { of: BatchPartsFragment }) {
  const batch = useLiveBatch(of)
  const { totalCount, pendingCount, processedCount, failedCount } = batch
  const said = useCalm(pendingCount ? `${Math.floor(batch.completionPercentage / 10) * 10} percent done` : `Done, ${failedCount} failed`)
  return (
    <Screen title="Batch" back={back}>
      <Announce text={said} />
      <p className="row sub">
        <State of={batch.state} />
        {batch.test && <Tag>Test</Tag>}
        <span className="row">
          <code>{batch.id}</code> <Copy text={batch.id} name="Copy the id" />
        </span>
      </p>
      <Section title="Progress">
        <div className="stack">
          <p className="big">{Math.floor(batch.completionPercentage)} %</p>
          <BatchProgress of={batch} />
          <dl className="facts counts">
            {(
              [
                ['In all', totalCount],
                ['Pending', pendingCount],
                ['Processed', processedCount],
                ['Failed', failedCount],
              ] as const
            ).map(([name, n]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{n.toLocaleString()}</dd>
              </div>
            ))}
            <div>
              <dt>Created</dt>
              <dd>
                <Time at={batch.createdAt} />
              </dd>
            </div>
            <div>
              <dt>Done</dt>
              <dd>
                <Time at={batch.processedAt} none="Not yet" />
                {batch.processedAt && <span className="quiet"> after {duration(new Date(batch.processedAt).getTime() - new Date(batch.createdAt).getTime())}</span>}
              </dd>
            </div>
          </dl>
        </div>
      </Section>
      {Object.keys((batch.metadata ?? {}) as object).length > 0 && (
        <Section title="Metadata">
          <Json of={batch.metadata} />
        </Section>
      )}
      <Submissions of={batch} />
    </Screen>
  )
}

// What comes to match a filter is read once things are quieter.
const gathering = 700

function Submissions({ of: batch }: { of: BatchPartsFragment }) {
  const [params, setParams] = useSearchParams()
  const state = params.get('state') ?? ''
  const states = state ? (state.split(',') as DocumentState[]) : undefined
  const pages = usePages()
  const [{ data, fetching, error }, query] = useRead({ query: BatchSubmissionsDocument, variables: { id: batch.id, after: pages.after, states: states ?? null } })
  const again = () => query({ requestPolicy: 'network-only' })
  useReset(again)
  const read = data?.submissionBatch?.submissions
  const changes = useChanges((d) => d.__typename === 'Submission' && d.batch?.id === batch.id)
  const shown = read?.nodes.map((d) => ({ ...d, ...later(d, changes.get(d.id) ?? d) })).filter((d) => !states || states.includes(d.state))

  // Their order is that of the batch, so what newly matches a filter may belong anywhere.
  const known = useRef('')
  const matching = states ? [...changes.values()].filter((d) => states.includes(d.state) && !read?.nodes.some((n) => n.id === d.id)).length : 0
  const key = `${state}${pages.after}${matching}`
  useEffect(() => {
    if (!matching || key === known.current) return
    const timer = setTimeout(() => {
      known.current = key
      again()
    }, gathering)
    return () => clearTimeout(timer)
  }, [key])

  return (
    <>
      <div className="heading">
        <h2>Submissions</h2>
        <div className="filters">
          <Select
            label="State"
            value={state}
            onChange={(chosen) => {
              pages.start()
              setParams(chosen ? { state: chosen } : {}, { replace: true })
            }}
            options={[
              ['', 'Any'],
              ['PENDING', 'Pending'],
              ['PROCESSED', 'Processed'],
              ['FAILED,INVALID_DATA', `Failed (${count(batch.failedCount, 'submission')})`],
            ]}
          />
        </div>
      </div>
      <Problems of={problemsOf(error)} />
      {!shown ? (
        fetching && <Busy />
      ) : shown.length ? (
        <DocumentsTable of={shown} caption="Submissions of the batch" busy={fetching} />
      ) : (
        <Empty title={fetching ? 'Loading…' : 'None is in this state'}>
          {states && (
            <button type="button" onClick={() => setParams({}, { replace: true })}>
              Show all
            </button>
          )}
        </Empty>
      )}
      <Pager pages={pages} info={read?.pageInfo} />
    </>
  )
}
