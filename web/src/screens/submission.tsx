import { useRead } from '../api/read'
import { Link, useParams } from 'wouter'
import { send } from '../api/client'
import { ExpireSubmissionDocument, SubmissionDocument } from '../api/generated'
import { CreateLink } from '../parts/create-link'
import { DocumentPage } from '../parts/document'
import { Json, Section } from '../parts/parts'

/** A submission's page. */
export function Submission() {
  const { id = '' } = useParams()
  const [{ data, fetching, error, stale }, again] = useRead({ query: SubmissionDocument, variables: { id } })
  return (
    <DocumentPage
      id={id}
      noun="submission"
      back={{ to: '/submissions', name: 'Submissions' }}
      read={data?.submission}
      fetching={fetching || stale}
      error={error}
      again={() => again({ requestPolicy: 'network-only' })}
      expire={async () => (await send('expireSubmission', ExpireSubmissionDocument, { id })).problems}
      actions={<CreateLink to={`/create/submission?like=${id}`}>Make another like this</CreateLink>}
      facts={(d) => [
        d.template && ['Template', <Link to={`/templates/${d.template.id}`}>{d.template.name}</Link>],
        d.template && ['Version', d.templateVersion ? d.templateVersion.number : 'Draft, as it was then'],
        !!d.sourceUrl && ['Address', <code>{d.sourceUrl}</code>],
        ['Output', d.output],
        d.batch && ['Batch', <Link to={`/batches/${d.batch.id}`}>{d.batch.id}</Link>],
      ]}
    >
      {(d) => (
        <>
          {d.data != null && (
            <Section title="Data">
              <Json of={d.data} />
            </Section>
          )}
          {d.sourceHtml != null && (
            <Section title="HTML">
              <div className="json">
                <pre tabIndex={0}>{d.sourceHtml}</pre>
              </div>
            </Section>
          )}
        </>
      )}
    </DocumentPage>
  )
}
