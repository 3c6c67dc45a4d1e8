// A document's page, of submissions and combined submissions alike.
import { useEffect, useRef, useState, type ReactNode } from 'react'
import { Link } from 'wouter'
import type { CombinedError } from 'urql'
import { problemsOf, type Problem } from '../api/client'
import { useLiveDocument, useReset } from '../api/feed'
import { here } from '../api/files'
import type { DocumentPartsFragment } from '../api/generated'
import { Actions, Copied } from './actions'
import { Announce, useCalm } from './announce'
import { readOnly } from './create-link'
import { tally, versionOf, whatIs } from './documents-table'
import { Busy, bytes, Confirm, Copy, Empty, Facts, FailureNote, Json, Problems, Screen, Section, State, Tag } from './parts'
import { Timeline } from './timeline'
import { useViewer } from './viewer'

type Read = DocumentPartsFragment & { downloadUrl: string | null }

/** The page of the document that was read; it stays current by itself. read: null where there is none. */
export function DocumentPage<T extends Read>({
  id,
  noun,
  back,
  read,
  fetching,
  error,
  again,
  expire,
  actions,
  facts = () => [],
  children,
}: {
  id: string
  noun: string
  back: { to: string; name: string }
  read: T | null | undefined
  fetching: boolean
  error: CombinedError | undefined
  /** Reads it anew. */
  again: () => void
  /** Expires it now. */
  expire: () => Promise<Problem[]>
  actions?: ReactNode
  /** What only this kind of document has to tell. */
  facts?: (document: T) => (readonly [string, ReactNode] | false | null | undefined)[]
  /** And what it has sections for. */
  children?: (document: T) => ReactNode
}) {
  const document = useLiveDocument<T>(read)
  useReset(again)
  // The address of the file, and what was deleted with it, do not come with the feed.
  const changed = document && read && document.revision > read.revision
  useEffect(() => {
    if (changed) again()
  }, [changed])
  // The address of the file is good for a day, and pages are left open for longer.
  useEffect(() => {
    const timer = setInterval(again, 12 * 3600_000)
    return () => clearInterval(timer)
  }, [id])
  const said = useCalm(document ? sentence(document) : '')

  if (!document)
    return (
      <Screen title={read === null && !fetching ? `There is no ${noun} here` : 'Document'} back={back}>
        <Problems of={problemsOf(error)} />
        {read === null && !fetching ? (
          <Empty title={`No ${noun} with the id ${id} in this account`}>
            <p>It may be of another account, or a live document that a test token does not see.</p>
            <Link to={back.to} className="button">
              Go to the {back.name.toLowerCase()}
            </Link>
          </Empty>
        ) : (
          !error && <Busy />
        )}
      </Screen>
    )
  return (
    <Screen
      title={whatIs(document)}
      back={back}
      actions={
        <>
          {actions}
          {!document.expired && <Expire noun={noun} expire={expire} />}
          <Download of={document} />
        </>
      }
    >
      <Announce text={said} />
      <p className="row sub">
        <State of={document.state} expired={document.expired} />
        {document.test && <Tag>Test</Tag>}
        {versionOf(document) && <span className="quiet">{versionOf(document)}</span>}
        <span className="row">
          <code>{document.id}</code> <Copy text={document.id} name="Copy the id" />
        </span>
      </p>
      <Timeline of={document} />
      {document.failure && <FailureNote of={document.failure} />}
      <div className="document">
        <Section title="File">
          <Shown of={document} title={`${whatIs(document)}, ${document.id}`} />
        </Section>
        <div className="stack">
          <Section title="Facts">
            <Facts
              of={[
                ...facts(document),
                document.file?.pageCount != null && ['Pages', document.file.pageCount.toLocaleString()],
                document.file && ['Size', <span title={`${document.file.byteSize.toLocaleString()} bytes`}>{bytes(document.file.byteSize)}</span>],
                document.file && ['Password', document.file.passwordProtected ? 'Needed to open it' : 'None'],
              ]}
            />
            {document.file && (
              <dl className="facts hash">
                <div className="wide">
                  <dt>SHA-256</dt>
                  <dd>
                    <Copied text={document.file.sha256} />
                  </dd>
                </div>
              </dl>
            )}
          </Section>
          {Object.keys((document.metadata ?? {}) as object).length > 0 && (
            <Section title="Metadata">
              <Json of={document.metadata} />
            </Section>
          )}
          {children?.(document)}
        </div>
      </div>
      <Actions of={document} />
    </Screen>
  )
}

function sentence(d: DocumentPartsFragment): string {
  const states = { PENDING: 'Pending', PROCESSED: 'Processed', FAILED: 'Failed', INVALID_DATA: 'Invalid data' }
  const { all, done, failed } = tally(d.actions)
  return [states[d.state] + (d.expired ? ', expired' : ''), all && `${done} of ${all} delivered`, failed && `${failed} failed`].filter(Boolean).join(', ')
}

function Download({ of }: { of: Read }) {
  if (!of.downloadUrl)
    return (
      <button type="button" className="primary" disabled title={of.expired ? 'The copy was deleted.' : of.state === 'PENDING' ? 'It is not made yet.' : 'It could not be made.'}>
        Download
      </button>
    )
  const extension = of.file?.contentType.split('/')[1] ?? 'pdf'
  return (
    <a className="button primary" href={here(of.downloadUrl)} download={`${of.id}.${extension}`}>
      Download
    </a>
  )
}

function Expire({ noun, expire }: { noun: string; expire: () => Promise<Problem[]> }) {
  const { mayWrite } = useViewer()
  const [asking, setAsking] = useState(false)
  return (
    <>
      <button type="button" disabled={!mayWrite} title={mayWrite ? undefined : readOnly} onClick={() => setAsking(true)}>
        Expire now
      </button>
      {asking && (
        <Confirm title={`Expire this ${noun} now?`} yes="Expire now" onYes={expire} onClose={() => setAsking(false)}>
          <p>
            Platen deletes its copy of the file{noun === 'submission' ? ' and the data' : ''}, for good. What is still being made or delivered ends as failed. The record, its metadata and its hash stay.
          </p>
          <p>Copies in your buckets stay: Platen never deletes anything there.</p>
        </Confirm>
      )}
    </>
  )
}

/** The file, in the browser's own viewer. */
function Shown({ of: d, title }: { of: Read; title: string }) {
  // Each answer has another address of the same file: the viewer, with the place that one reads
  // at, is left alone until the file is another one.
  const shown = useRef<{ sha256: string; url: string }>(undefined)
  if (d.file && d.downloadUrl && shown.current?.sha256 !== d.file.sha256) shown.current = { sha256: d.file.sha256, url: here(d.downloadUrl) }
  if (d.expired) return <NoViewer>Platen's copy was deleted when it expired. Copies in your buckets stay.</NoViewer>
  if (d.state === 'PENDING')
    return (
      <div className="no-viewer">
        <span className="spinner" aria-hidden="true" />
        <p>It is being made, and appears here by itself.</p>
      </div>
    )
  if (d.state !== 'PROCESSED') return <NoViewer>There is no file: the document could not be made. The reason is above.</NoViewer>
  if (!shown.current || !d.file) return <NoViewer>Loading…</NoViewer>
  const { url } = shown.current
  if (d.file.contentType.startsWith('image/')) return <img className="viewer" src={url} alt={title} />
  if (!navigator.pdfViewerEnabled)
    return (
      <div className="no-viewer">
        <p>This browser does not show PDFs by itself.</p>
        <a className="button" href={url} target="_blank" rel="noreferrer">
          Open the PDF
        </a>
      </div>
    )
  // Without the thumbnails, which take half of the room, and as wide as there is room.
  return <iframe className="viewer" src={url + '#navpanes=0&view=FitH'} title={title} />
}

function NoViewer({ children }: { children: ReactNode }) {
  return (
    <div className="no-viewer">
      <p className="quiet">{children}</p>
    </div>
  )
}
