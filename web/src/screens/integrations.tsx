import { useRead } from '../api/read'
import { Link } from 'wouter'
import { problemsOf } from '../api/client'
import { IntegrationsDocument } from '../api/generated'
import { Busy, Empty, Pager, Problems, Screen, Tag, usePages } from '../parts/parts'
import { useViewer } from '../parts/viewer'
import { appliesToNames } from './integration-form'
import { counted, Destination, Health, services, useActionChanges } from './integration-parts'
import './integration.css'

/** Where documents are delivered to, and whether that works. */
export function Integrations() {
  const { mayAdminister } = useViewer()
  const pages = usePages()
  const [{ data, error }, read] = useRead({ query: IntegrationsDocument, variables: { after: pages.after } })
  useActionChanges(null, () => read({ requestPolicy: 'network-only' }))
  const integrations = data?.integrations.nodes
  const create = mayAdminister ? (
    <Link to="/create/integration" className="button primary">
      Create Integration
    </Link>
  ) : (
    <span className="quiet">Creating integrations needs a token with the scope ADMIN.</span>
  )

  return (
    <Screen title="Integrations" actions={create}>
      <Problems of={problemsOf(error)} />
      {!integrations ? (
        !error && <Busy />
      ) : integrations.length === 0 && pages.first ? (
        <Empty title="Documents stay with Platen so far">
          <p>
            An integration delivers each document as soon as it is processed: into a bucket of yours at AWS S3 or any S3-compatible server, or as JSON to a webhook.
            <br />
            For a bucket you need its name, its region, and the access key of a user that may put objects there. The form shows that user's policy.
          </p>
          {mayAdminister && <p>{create}</p>}
        </Empty>
      ) : (
        <div className="table">
          <table className="cards integrations">
            <thead>
              <tr>
                <th>Name</th>
                <th>Service</th>
                <th>Destination</th>
                <th>Documents</th>
                <th>Health</th>
                <th className="number">Pending</th>
                <th className="number">Failed</th>
              </tr>
            </thead>
            <tbody>
              {integrations.map((i) => (
                <tr key={i.id}>
                  <td data-name="Name">
                    <span>
                      <Link to={'/integrations/' + i.id}>{i.name}</Link> {!i.enabled && <Tag>Disabled</Tag>}
                    </span>
                  </td>
                  <td data-name="Service">{services[i.__typename]}</td>
                  <td data-name="Destination">
                    <span>
                      <Destination of={i} />
                    </span>
                  </td>
                  <td data-name="Documents">
                    <span>
                      {appliesToNames[i.appliesTo]}
                      {i.__typename === 'WebhookIntegration' && i.template && <span className="hint"> of {i.template.name}</span>}
                    </span>
                  </td>
                  <td data-name="Health">
                    <span>
                      <Health of={i.health} />
                      {i.health.failure && <span className="hint what">{i.health.failure.message}</span>}
                      {i.__typename === 'AwsS3Integration' &&
                        i.warnings.map((w) => (
                          <span className="hint what" key={w}>
                            <span aria-hidden="true">⚠</span> {w}
                          </span>
                        ))}
                    </span>
                  </td>
                  <td data-name="Pending" className="number">
                    {counted(i.pending.totalCount)}
                  </td>
                  <td data-name="Failed" className="number">
                    {i.failed.totalCount ? <Link to={`/integrations/${i.id}?state=FAILED`}>{counted(i.failed.totalCount)}</Link> : '0'}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Pager pages={pages} info={data?.integrations.pageInfo} />
    </Screen>
  )
}
