import type { ReactNode } from 'react'
import type { DocumentPartsFragment } from '../api/generated'
import { tally } from './documents-table'
import { count, duration, Time } from './parts'

interface Step {
  name: string
  kind: 'good' | 'bad' | 'waiting' | 'later'
  detail: ReactNode
}

/** The way of a document: accepted, made, delivered, expired. A failed delivery is a step of its own. */
export function Timeline({ of: d }: { of: DocumentPartsFragment }) {
  return (
    <ol className="timeline" aria-label="Progress">
      {[{ name: 'Accepted', kind: 'good' as const, detail: <Time at={d.createdAt} /> }, making(d), delivering(d), expiring(d)].map(({ name, kind, detail }, i) => (
        <li key={i} className={kind} aria-current={kind === 'waiting' ? 'step' : undefined}>
          <span className="sign" aria-hidden="true">
            {kind === 'waiting' ? <span className="spinner" /> : kind === 'good' ? '✓' : kind === 'bad' ? '✕' : '○'}
          </span>
          <span className="name">{name}</span>
          <span className="detail">{detail}</span>
        </li>
      ))}
    </ol>
  )
}

function making(d: DocumentPartsFragment): Step {
  const combined = d.__typename === 'CombinedSubmission'
  const took = d.processingTimeMs == null ? '' : `, ${duration(d.processingTimeMs)} of work`
  switch (d.state) {
    case 'PENDING':
      return { name: 'Pending', kind: 'waiting', detail: combined ? 'Its sources are made, then merged' : 'It is made, or waits for its turn' }
    case 'PROCESSED':
      return {
        name: 'Processed',
        kind: 'good',
        detail: (
          <>
            <Time at={d.processedAt} />
            {took}
          </>
        ),
      }
    default:
      return {
        name: d.state === 'INVALID_DATA' ? 'Invalid data' : 'Failed',
        kind: 'bad',
        detail: (
          <>
            <Time at={d.failure?.occurredAt} />
            {took}
          </>
        ),
      }
  }
}

function delivering(d: DocumentPartsFragment): Step {
  const { all, done, failed, pending } = tally(d.actions)
  if (d.state === 'PENDING') return { name: 'Deliveries', kind: 'later', detail: 'Begin once it is made' }
  if (!all) return { name: 'Deliveries', kind: 'later', detail: d.state === 'PROCESSED' ? 'None applies' : 'None: there is no document' }
  if (d.state !== 'PROCESSED')
    return { name: failed ? `${failed} of ${count(all, 'webhook')} failed` : pending ? 'Telling webhooks' : 'Webhooks told', kind: failed ? 'bad' : pending ? 'waiting' : 'good', detail: `${done} of ${all} told of the failure` }
  if (failed)
    return {
      name: `${failed} of ${count(all, 'delivery', 'deliveries')} failed`,
      kind: 'bad',
      detail: [done && `${done} delivered`, pending && `${pending} to go`, !d.expired && 'the document is fine'].filter(Boolean).join(', '),
    }
  if (pending) return { name: 'Delivering', kind: 'waiting', detail: `${done} of ${all} delivered` }
  const last = d.actions.map((a) => a.updatedAt).sort().at(-1)
  return {
    name: 'Delivered',
    kind: 'good',
    detail: (
      <>
        {all > 1 && `All ${all}, `}
        <Time at={last} />
      </>
    ),
  }
}

function expiring(d: DocumentPartsFragment): Step {
  if (d.expired) return { name: 'Expired', kind: 'good', detail: <>{d.expiresAt ? <Time at={d.expiresAt} /> : 'Before its time'}. Copies in buckets stay</> }
  if (!d.expiresAt) return { name: 'Kept', kind: 'later', detail: 'Never expires by itself' }
  return { name: 'Expires', kind: 'later', detail: <Time at={d.expiresAt} /> }
}
