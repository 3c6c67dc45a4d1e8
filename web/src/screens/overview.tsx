import { useEffect, useState } from 'react'
import { useRead } from '../api/read'
import { Link } from 'wouter'
import { problemsOf } from '../api/client'
import { useFeed, useLive } from '../api/feed'
import { OverviewDocument, type OverviewQuery } from '../api/generated'
import { Busy, Problems, Screen, Section, State, Tag, Time } from '../parts/parts'
import { useViewer } from '../parts/viewer'

/** What there is to do first, what needs a look, and what happened last. */
export function Overview() {
  const { mayWrite } = useViewer()
  const [{ data, error }, again] = useRead({ query: OverviewDocument })
  const reread = useSoon(() => again({ requestPolicy: 'network-only' }))
  useFeed(reread)
  const { documents } = useLive(data?.submissions.nodes, true, (d) => d.__typename === 'Submission', reread)

  return (
    <Screen
      title="Overview"
      actions={
        mayWrite && (
          <Link to="/create/submission" className="button primary">
            Create a submission
          </Link>
        )
      }
    >
      <Problems of={problemsOf(error)} />
      {!data && !error && <Busy />}
      {data && (
        <>
          <FirstSteps of={data} />
          <Attention of={data} />
          {documents && documents.length > 0 && (
            <Section title="Latest submissions" actions={<Link to="/submissions">All submissions</Link>}>
              <div className="table">
                <table className="cards">
                  <thead>
                    <tr>
                      <th>State</th>
                      <th>Submission</th>
                      <th>Delivered</th>
                      <th>Created</th>
                    </tr>
                  </thead>
                  <tbody>
                    {documents.slice(0, 8).map((d) => (
                      <tr key={d.id}>
                        <td data-name="State">
                          <State of={d.state} expired={d.expired} />
                        </td>
                        <td data-name="Submission">
                          <Link to={`/submissions/${d.id}`}>{(d.__typename === 'Submission' && d.template?.name) || d.id}</Link> {d.test && <Tag>Test</Tag>}
                        </td>
                        <td data-name="Delivered">
                          {d.actions.length ? `${d.actions.filter((a) => a.state === 'PROCESSED').length} of ${d.actions.length}` : '–'}
                          {d.actions.some((a) => a.state === 'FAILED') && <> <Tag kind="bad">✕ failed</Tag></>}
                        </td>
                        <td data-name="Created">
                          <Time at={d.createdAt} />
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            </Section>
          )}
        </>
      )}
    </Screen>
  )
}

/** The way of a newcomer: a template, a document, a bucket. It goes once all is done. */
function FirstSteps({ of }: { of: OverviewQuery }) {
  const { mayWrite, mayAdminister } = useViewer()
  const steps = [
    { done: of.templates.nodes.length > 0, to: '/templates', name: 'Make a template', what: 'HTML and CSS that your data is poured into, beside a live preview.', may: mayWrite },
    { done: of.integrations.nodes.length > 0, to: '/integrations', name: 'Connect a bucket', what: 'AWS S3 or a server that speaks as it does: every live document is copied there.', may: mayAdminister },
    { done: of.submissions.nodes.length > 0, to: '/create/submission', name: 'Create a submission', what: 'Watch it being made and delivered.', may: mayWrite },
  ]
  const next = steps.find((step) => !step.done)
  if (!next) return null
  return (
    <Section title="First steps">
      <ol className="steps">
        {steps.map((step) => (
          <li key={step.to} className={step.done ? 'done' : ''}>
            <span className="mark" aria-hidden="true">
              {step.done ? '✓' : ''}
            </span>
            <div>
              <h3>
                {step.name}
                {step.done && <span className="hidden"> (done)</span>}
              </h3>
              <p className="quiet">{step.what}</p>
            </div>
            {!step.done &&
              (step.may ? (
                <Link to={step.to} className={step === next ? 'button primary' : 'button'}>
                  {step.name}
                </Link>
              ) : (
                <span className="quiet">Your token may not do this.</span>
              ))}
          </li>
        ))}
      </ol>
    </Section>
  )
}

/** What somebody should look at. */
function Attention({ of }: { of: OverviewQuery }) {
  const failing = of.integrations.nodes.filter((i) => i.enabled && i.health.state === 'FAILING')
  const numbers: [string, number, string][] = [
    ['being made', of.pending.totalCount, '/submissions?states=PENDING'],
    ['failed', of.failed.totalCount, '/submissions?states=FAILED,INVALID_DATA'],
    ['deliveries failed', of.undelivered.totalCount, '/integrations'],
  ]
  return (
    <>
      <ul className="numbers">
        {numbers.map(([name, n, to]) => (
          <li key={name}>
            <Link to={to}>
              <strong>{n >= 10_000 ? '10,000+' : n.toLocaleString()}</strong> {name}
            </Link>
          </li>
        ))}
      </ul>
      {failing.map((i) => (
        <div className="failure" key={i.id}>
          <p>
            <Link to={`/integrations/${i.id}`}>{i.name}</Link> fails: {i.health.failure?.message}
          </p>
          <p className="quiet">
            Documents are made and stay downloadable meanwhile. <Time at={i.health.checkedAt} />
          </p>
        </div>
      ))}
    </>
  )
}

/** Calls f a little later, once for many calls: a list is not read anew for each of a thousand events. */
function useSoon(f: () => void): () => void {
  const [asked, setAsked] = useState(false)
  useEffect(() => {
    if (!asked) return
    const timer = setTimeout(() => {
      setAsked(false)
      f()
    }, 1000)
    return () => clearTimeout(timer)
  }, [asked])
  return () => setAsked(true)
}
