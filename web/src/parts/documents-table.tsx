// Lists of documents: what each is, where it is on its way, and how its deliveries stand.
import { useRead } from '../api/read'
import { Link } from 'wouter'
import { SubmissionSourceDocument, type DocumentPartsFragment } from '../api/generated'
import { bytes, count, State, Tag, Time } from './parts'
import './documents.css'

type Document = DocumentPartsFragment

/** A document of a list; where its address is undefined, it is read when it is needed. */
export type Row = Document & { sourceUrl?: string | null }

/** By what a document is recognised. */
interface Known {
  __typename: Document['__typename']
  id: string
  expired: boolean
  sourceUrl?: string | null
  template?: { name: string } | null
  templateVersion?: { number: number } | null
}

/** Where a document's page is. */
export const pathOf = (d: Pick<Known, '__typename' | 'id'>) => (d.__typename === 'Submission' ? '/submissions/' : '/combined-submissions/') + d.id

/** What a document was made of, in a few words. */
export function whatIs(d: Known): string {
  if (d.__typename === 'CombinedSubmission') return 'Combined submission'
  if (d.template) return d.template.name
  if (d.sourceUrl) return d.sourceUrl.replace(/^https?:\/\//, '').replace(/\/$/, '')
  return d.expired || d.sourceUrl === undefined ? 'HTML or an address' : 'HTML'
}

// What a submission of no template was made of, where that was not read with it.
function Source({ of: d }: { of: Known }) {
  const [{ data }] = useRead({ query: SubmissionSourceDocument, variables: { id: d.id }, requestPolicy: 'cache-first' })
  return <>{whatIs({ ...d, sourceUrl: data?.submission?.sourceUrl })}</>
}

/** What a document was made of; its address is looked up where it is not known. */
export const What = ({ of: d }: { of: Known }) => (d.__typename === 'CombinedSubmission' || d.template || d.expired || d.sourceUrl !== undefined ? <>{whatIs(d)}</> : <Source of={d} />)

/** Of a submission of a template: which state of it. */
export function versionOf(d: Known): string {
  if (d.__typename !== 'Submission' || !d.template) return ''
  return d.templateVersion ? `version ${d.templateVersion.number}` : 'draft'
}

/** How many of a document's actions are done and failed. */
export function tally(actions: Document['actions']) {
  return {
    all: actions.length,
    done: actions.filter((a) => a.state === 'PROCESSED').length,
    failed: actions.filter((a) => a.state === 'FAILED').length,
    pending: actions.filter((a) => a.state === 'PENDING').length,
  }
}

/** The deliveries of a document in a few words; what failed stands out. Of one that failed itself, only webhooks are told. */
export function Deliveries({ of: { state, actions } }: { of: Pick<Document, 'state' | 'actions'> }) {
  const { all, done, failed, pending } = tally(actions)
  if (!all) return <span className="quiet">–</span>
  const delivered = state === 'PROCESSED' ? 'delivered' : all > 1 ? 'webhooks told' : 'webhook told'
  return (
    <span className="deliveries">
      {failed > 0 && (
        <Tag kind="bad">
          <span aria-hidden="true">✕</span> {failed} of {all} failed
        </Tag>
      )}
      {(done > 0 || !failed) && (
        <span className={pending && !failed ? 'pending' : 'quiet'}>
          {pending > 0 && !failed && <span aria-hidden="true">◌ </span>}
          {failed ? `${done} ${delivered}` : `${done} of ${all} ${delivered}`}
        </span>
      )}
      {failed > 0 && pending > 0 && (
        <span className="pending">
          <span aria-hidden="true">◌</span> {pending} to go
        </span>
      )}
    </span>
  )
}

/** Metadata as short as it can be recognised by. */
export function Metadata({ metadata }: { metadata: unknown }) {
  const entries = Object.entries((metadata ?? {}) as Record<string, unknown>)
  if (!entries.length) return null
  return (
    <span className="known">
      {entries.slice(0, 3).map(([key, value]) => {
        const text = typeof value === 'string' ? value : JSON.stringify(value)
        return (
          <span key={key}>
            {key}: {text.length > 40 ? text.slice(0, 39) + '…' : text}
          </span>
        )
      })}
      {entries.length > 3 && <span>+{entries.length - 3}</span>}
    </span>
  )
}

/** Documents as rows. */
export function DocumentsTable({ of, caption, fresh, busy }: { of: Row[]; caption: string; fresh?: ReadonlySet<string>; busy?: boolean }) {
  return (
    <div className="table" aria-busy={busy || undefined}>
      <table className="cards documents">
        <caption className="hidden">{caption}</caption>
        <thead>
          <tr>
            <th scope="col">State</th>
            <th scope="col">Document</th>
            <th scope="col">Deliveries</th>
            <th scope="col" className="number">
              Pages
            </th>
            <th scope="col" className="number">
              Size
            </th>
            <th scope="col">Created</th>
          </tr>
        </thead>
        <tbody>
          {of.map((d) => (
            <tr key={d.id} data-id={d.id} className={fresh?.has(d.id) ? 'fresh' : undefined}>
              <td data-name="State">
                <span className="lines">
                  <State of={d.state} expired={d.expired} />
                  {d.failure && <code className="bad">{d.failure.code}</code>}
                </span>
              </td>
              <td data-name="Document" className="what">
                <span className="lines">
                  <span>
                    <Link to={pathOf(d)} className="name">
                      {d.__typename === 'CombinedSubmission' ? d.id : <What of={d} />}
                    </Link>{' '}
                    <span className="quiet">{versionOf(d)}</span> {d.test && <Tag>Test</Tag>}
                  </span>
                  {d.__typename === 'Submission' && <code className="quiet">{d.id}</code>}
                  <Metadata metadata={d.metadata} />
                </span>
              </td>
              <td data-name="Deliveries" className={d.actions.length ? undefined : 'none'}>
                <Deliveries of={d} />
              </td>
              <td data-name="Pages" className={d.file?.pageCount ? 'number' : 'number none'}>
                {d.file?.pageCount ?? '–'}
              </td>
              <td data-name="Size" className={d.file ? 'number nowrap' : 'number none'}>
                {d.file ? bytes(d.file.byteSize) : '–'}
              </td>
              <td data-name="Created" className="nowrap">
                <Time at={d.createdAt} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** 3 pages, 1.2 MB */
export const sizeOf = (file: { pageCount: number | null; byteSize: number }) => (file.pageCount ? count(file.pageCount, 'page') + ', ' : '') + bytes(file.byteSize)
