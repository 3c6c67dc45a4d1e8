import { useRead } from '../api/read'
import { Link, useParams } from 'wouter'
import { send } from '../api/client'
import { useChanges } from '../api/feed'
import { CombinedSubmissionDocument, ExpireCombinedSubmissionDocument, type CombinedSubmissionQuery } from '../api/generated'
import { DocumentPage } from '../parts/document'
import { pathOf, sizeOf, versionOf, What, whatIs } from '../parts/documents-table'
import { bytes, Section, State, Tag, Time } from '../parts/parts'

type Sources = NonNullable<CombinedSubmissionQuery['combinedSubmission']>['sources']

// Of so many sources each one's address is looked up by itself.
const few = 20

/** A combined submission's page. */
export function CombinedSubmission() {
  const { id = '' } = useParams()
  const [{ data, fetching, error, stale }, again] = useRead({ query: CombinedSubmissionDocument, variables: { id } })
  return (
    <DocumentPage
      id={id}
      noun="combined submission"
      back={{ to: '/combined-submissions', name: 'Combined submissions' }}
      read={data?.combinedSubmission}
      fetching={fetching || stale}
      error={error}
      again={() => again({ requestPolicy: 'network-only' })}
      expire={async () => (await send('expireCombinedSubmission', ExpireCombinedSubmissionDocument, { id })).problems}
      facts={(d) => [['Sources', d.sources.length.toLocaleString()]]}
    >
      {(d) => (
        <Section title="Sources">
          <SourceList of={d.sources} fault={d.failure?.path?.[0] === 'sources' ? Number(d.failure.path[1]) : undefined} />
        </Section>
      )}
    </DocumentPage>
  )
}

/** What it is merged from, in order, each as it is now. fault: the place of the one that spoilt it. */
function SourceList({ of, fault }: { of: Sources; fault: number | undefined }) {
  const ids = new Set(of.map((source) => ('id' in source ? source.id : '')))
  const changes = useChanges((d) => ids.has(d.id))
  return (
    <ol className="sources">
      {of.map((source, i) => (
        <li key={i} className={i === fault ? 'fault' : undefined}>
          <span className="place">{i + 1}</span>
          <Source of={source} changes={changes} few={of.length <= few} />
          {i === fault && <strong className="quiet">This one is at fault</strong>}
        </li>
      ))}
    </ol>
  )
}

function Source({ of: source, changes, few }: { of: Sources[number]; changes: ReturnType<typeof useChanges>; few: boolean }) {
  switch (source.__typename) {
    case 'Submission':
    case 'CombinedSubmission': {
      const changed = changes.get(source.id)
      const d = changed && changed.revision >= source.revision ? changed : source
      return (
        <>
          <span className="lines">
            <span>
              <Link to={pathOf(d)}>{few ? <What of={d} /> : whatIs(d)}</Link> <span className="quiet">{versionOf(d)}</span> {d.test && <Tag>Test</Tag>}
            </span>
            <code className="quiet">{d.id}</code>
            {d.file && <span className="hint">{sizeOf(d.file)}</span>}
          </span>
          <State of={d.state} expired={d.expired} />
        </>
      )
    }
    case 'TemplateVersion':
      return (
        <span className="lines">
          <span>{source.template ? <Link to={`/templates/${source.template.id}`}>{source.template.name}</Link> : 'Template'}</span>
          <span className="hint">Version {source.number}, with its sample data</span>
        </span>
      )
    case 'Upload':
      return (
        <span className="lines">
          <span>{source.filename}</span>
          <span className="hint">
            Uploaded file, {bytes(source.byteSize)}; kept until <Time at={source.goneAt} />
          </span>
        </span>
      )
    case 'RemotePdf':
      return (
        <span className="lines">
          <code>{source.url}</code>
          <span className="hint">Fetched from this address</span>
        </span>
      )
    default:
      return <span className="quiet">A kind of source that this page does not know</span>
  }
}
