import { useEffect, useState } from 'react'
import { useRead } from '../api/read'
import { Link, useLocation, useParams, useSearchParams } from 'wouter'
import { problemsOf, send, type Problem } from '../api/client'
import {
  ActionsOfIntegrationDocument,
  DeleteIntegrationDocument,
  IntegrationDocument,
  RetryActionOfIntegrationDocument,
  RetryFailedActionsDocument,
  TestIntegrationDocument,
  UpdateAwsS3IntegrationDocument,
  UpdateWebhookIntegrationDocument,
  type ActionsOfIntegrationQuery,
  type ActionState,
  type HealthPartsFragment,
  type IntegrationQuery,
} from '../api/generated'
import { about, Busy, Confirm, count, Empty, Facts, FailureNote, Input, others, Pager, Problems, Screen, Section, State, Tag, Time, usePages } from '../parts/parts'
import { useViewer } from '../parts/viewer'
import { appliesToNames, S3Form, WebhookForm } from './integration-form'
import { counted, Destination, Health, services, useActionChanges } from './integration-parts'
import './integration.css'

type Integration = NonNullable<IntegrationQuery['integration']>
const back = { to: '/integrations', name: 'Integrations' }

/** An integration: whether it works, what it did, and how it is set. */
export function Integration() {
  const { id } = useParams<{ id: string }>()
  const { mayAdminister, testOnly } = useViewer()
  const [, go] = useLocation()
  const [{ data, error }, read] = useRead({ query: IntegrationDocument, variables: { id } })
  const again = () => read({ requestPolicy: 'network-only' })
  const [turn, setTurn] = useState(0)
  useActionChanges(id, () => {
    again()
    setTurn((t) => t + 1)
  })
  const [asked, setAsked] = useState<'disable' | 'delete' | null>(null)
  const [editing, setEditing] = useState(false)
  const [said, setSaid] = useState('')
  const [problems, setProblems] = useState<Problem[]>([])
  const it = data?.integration

  if (!it)
    return (
      <Screen title="Integration" back={back}>
        {data ? <p>There is no such integration: it may have been deleted.</p> : error ? <Problems of={problemsOf(error)} /> : <Busy />}
      </Screen>
    )

  const mayChange = mayAdminister && (!testOnly || it.appliesTo === 'TEST')

  async function enable(enabled: boolean) {
    const { problems: found } =
      it!.__typename === 'AwsS3Integration'
        ? await send('updateAwsS3Integration', UpdateAwsS3IntegrationDocument, { id, input: { enabled } })
        : await send('updateWebhookIntegration', UpdateWebhookIntegrationDocument, { id, input: { enabled } })
    if (!found.length) {
      setSaid(enabled ? 'Enabled: new documents get an action of it.' : 'Disabled: new documents get no action of it.')
      again()
    }
    return found
  }
  async function remove() {
    const { problems: found } = await send('deleteIntegration', DeleteIntegrationDocument, { id })
    if (!found.length) go(back.to)
    return found
  }
  const done = () => {
    setEditing(false)
    setSaid('Saved. Attempts from now on, retries included, use the new settings.')
    again()
  }

  if (editing)
    return (
      <Screen title={`Edit ${it.name}`} back={back} key="edit">
        {it.__typename === 'AwsS3Integration' ? <S3Form of={it} onDone={done} onCancel={() => setEditing(false)} /> : <WebhookForm of={it} onDone={done} onCancel={() => setEditing(false)} />}
      </Screen>
    )

  return (
    <Screen
      title={it.name}
      back={back}
      actions={
        mayChange ? (
          <>
            <button type="button" onClick={() => setEditing(true)}>
              Edit
            </button>
            {it.enabled ? (
              <button type="button" onClick={() => setAsked('disable')}>
                Disable…
              </button>
            ) : (
              <button type="button" onClick={() => void enable(true).then(setProblems)}>
                Enable
              </button>
            )}
            <button type="button" className="danger" onClick={() => setAsked('delete')}>
              Delete…
            </button>
          </>
        ) : (
          <span className="quiet">{mayAdminister ? 'A test token changes integrations for test documents only.' : 'Changing integrations needs a token with the scope ADMIN.'}</span>
        )
      }
    >
      <p role="status" className={said ? 'said' : 'hidden'}>
        {said}
      </p>
      <Problems of={problems} />
      <Status of={it} mayTest={mayChange} onTested={again} />
      <Actions id={id} turn={turn} failed={it.failed.totalCount} />
      <Settings of={it} />

      {asked === 'disable' && (
        <Confirm title={`Disable ${it.name}?`} yes="Disable" onYes={() => enable(false)} onClose={() => setAsked(null)}>
          <p>
            New documents get no action of it, and are not delivered later by themselves either.{' '}
            {it.pending.totalCount ? `Its ${count(it.pending.totalCount, 'pending action')} ${it.pending.totalCount === 1 ? 'goes' : 'go'} on.` : 'Nothing is pending now; what is would go on.'}
          </p>
        </Confirm>
      )}
      {asked === 'delete' && (
        <Confirm title={`Delete ${it.name}?`} yes="Delete" onYes={remove} onClose={() => setAsked(null)}>
          <p>
            {it.pending.totalCount
              ? `Its ${count(it.pending.totalCount, 'pending action')} will end as failed, with the code INTEGRATION_DELETED: what waits is not delivered.`
              : 'None of its actions is pending.'}{' '}
            All its actions stay readable with their documents, and {it.__typename === 'AwsS3Integration' ? 'what is in the bucket stays there' : 'what was posted stays posted'}. An integration that is deleted
            does not come back; to pause it, disable it.
          </p>
        </Confirm>
      )}
    </Screen>
  )
}

function Status({ of: it, mayTest, onTested }: { of: Integration; mayTest: boolean; onTested: () => void }) {
  const bucket = it.__typename === 'AwsS3Integration'
  return (
    <Section title="Does it work?">
      <div className={mayTest ? 'with-aside' : undefined}>
        <div className="stack" aria-live="polite">
          <Facts
            of={[
              ['Newest attempt', <Health of={it.health} />],
              ['New documents', it.enabled ? <Tag kind="good">Enabled</Tag> : <Tag>Disabled: no actions for them</Tag>],
              ['Pending actions', counted(it.pending.totalCount)],
              ['Failed actions', counted(it.failed.totalCount)],
            ]}
          />
          {it.health.failure && <FailureNote of={it.health.failure} />}
          {it.health.state === 'UNKNOWN' && <p>Nothing was delivered yet. Test the connection before the first document needs it.</p>}
          {bucket &&
            it.warnings.map((w) => (
              <p key={w} className="warning">
                <span aria-hidden="true">⚠</span> {w}
              </p>
            ))}
        </div>
        {mayTest && <Test of={it} onTested={onTested} />}
      </div>
    </Section>
  )
}

/** Tries the connection, and says before what that leaves behind. */
function Test({ of: it, onTested }: { of: Integration; onTested: () => void }) {
  const bucket = it.__typename === 'AwsS3Integration'
  const [key, setKey] = useState('platen-connection-test.txt')
  const [busy, setBusy] = useState(false)
  const [problems, setProblems] = useState<Problem[]>([])
  const [health, setHealth] = useState<HealthPartsFragment>()

  async function test() {
    setBusy(true)
    setHealth(undefined)
    const { payload, problems: found } = await send('testIntegration', TestIntegrationDocument, { id: it.id, key: key.trim() })
    setBusy(false)
    setProblems(found)
    setHealth(payload?.health ?? undefined)
    onTested()
  }
  return (
    <form
      className="aside"
      aria-label="Test connection"
      noValidate
      onSubmit={(e) => {
        e.preventDefault()
        void test()
      }}
    >
      <div>
        <h3>Test connection</h3>
        {bucket ? (
          <p>
            Puts one small object into <code>{it.bucket}</code>, at the key below. It stays there: Platen may not delete. A second test overwrites it.
          </p>
        ) : (
          <p>Posts a small signed message, a ping, to the address. No document is in it.</p>
        )}
      </div>
      {bucket && <Input label="Key" className="code" value={key} onInput={(e) => (setKey(e.currentTarget.value), setProblems([]))} errors={about(problems, 'key')} />}
      <Problems of={bucket ? others(problems, ['key']) : problems} />
      <div className="row">
        <button type="submit" disabled={busy}>
          Test connection
        </button>
        {busy && <Busy what="Testing" />}
      </div>
      <div role="status">
        {health?.state === 'HEALTHY' && (
          <p className="tested good">
            <span aria-hidden="true">✓</span> {bucket ? 'It works: the bucket took the object.' : 'It works: the ping was accepted.'}
          </p>
        )}
        {health?.failure && (
          <p className="tested bad">
            <span aria-hidden="true">✕</span> {health.failure.message}
          </p>
        )}
      </div>
    </form>
  )
}

const stateChoices: [ActionState | '', string][] = [
  ['', 'All'],
  ['PENDING', 'Pending'],
  ['PROCESSED', 'Processed'],
  ['FAILED', 'Failed'],
]

/** What it did and has to do, as it changes. */
function Actions({ id, turn, failed }: { id: string; turn: number; failed: number }) {
  const { mayWrite } = useViewer()
  const [search, setSearch] = useSearchParams()
  const state = (stateChoices.find(([code]) => code === search.get('state'))?.[0] ?? '') as ActionState | ''
  const pages = usePages()
  const [{ data, error }, read] = useRead({ query: ActionsOfIntegrationDocument, variables: { id, states: state ? [state] : null, after: pages.after } })
  const [said, setSaid] = useState('')
  const [problems, setProblems] = useState<Problem[]>([])
  const [busy, setBusy] = useState(false)
  useEffect(() => {
    if (turn) read({ requestPolicy: 'network-only' })
  }, [turn])
  const actions = data?.integration?.actions.nodes

  async function retryFailed() {
    setBusy(true)
    const { payload, problems: found } = await send('retryFailedActions', RetryFailedActionsDocument, { integrationId: id })
    setBusy(false)
    setProblems(found)
    if (payload) setSaid(payload.count === 10_000 ? '10,000 actions start again. There may be more: press it again.' : `${count(payload.count ?? 0, 'action')} ${payload.count === 1 ? 'starts' : 'start'} again.`)
  }

  return (
    <Section
      title="Actions"
      actions={
        <>
          {failed > 0 &&
            (mayWrite ? (
              <button type="button" className="small" disabled={busy} onClick={() => void retryFailed()}>
                Retry {counted(failed)} failed
              </button>
            ) : (
              <span className="quiet">Retrying needs a token with the scope WRITE.</span>
            ))}
          <div className="segments" role="group" aria-label="State">
            {stateChoices.map(([code, name]) => (
              <button
                key={code}
                type="button"
                className="small"
                aria-pressed={state === code}
                onClick={() => {
                  pages.start()
                  setSearch(code ? { state: code } : {}, { replace: true })
                }}
              >
                {name}
              </button>
            ))}
          </div>
        </>
      }
    >
      <p role="status" className={said ? 'said' : 'hidden'}>
        {said}
      </p>
      <Problems of={[...problems, ...problemsOf(error)]} />
      {!actions ? (
        !error && <Busy />
      ) : actions.length === 0 ? (
        <Empty title={state ? `No action is ${state.toLowerCase()}` : 'No actions yet'}>
          {!state && (
            <p>
              Each document that it applies to gets one as soon as it is processed. <Link to="/create/submission">Create a submission</Link> to see it here.
            </p>
          )}
        </Empty>
      ) : (
        <div className="table">
          <table className="cards actions">
            <thead>
              <tr>
                <th>State</th>
                <th>Document</th>
                <th>Where it goes</th>
                <th className="number">Attempts</th>
                <th>Changed</th>
                <th>
                  <span className="hidden">Retry</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {actions.map((a) => (
                <Row key={a.id} of={a} mayWrite={mayWrite} onProblems={setProblems} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Pager pages={pages} info={data?.integration?.actions.pageInfo} />
    </Section>
  )
}

type ActionRow = NonNullable<ActionsOfIntegrationQuery['integration']>['actions']['nodes'][number]

function Row({ of: a, mayWrite, onProblems }: { of: ActionRow; mayWrite: boolean; onProblems: (problems: Problem[]) => void }) {
  const s = a.subject
  return (
    <tr>
      <td data-name="State">
        <State of={a.state} />
      </td>
      <td data-name="Document">
        <span>
          {s.__typename === 'TemplateVersion' ? (
            <>
              <Link to={'/templates/' + (s.template?.id ?? '')}>{s.template?.name}</Link> <span className="hint">version {s.number}</span>
            </>
          ) : (
            <>
              <Link to={(s.__typename === 'Submission' ? '/submissions/' : '/combined-submissions/') + s.id}>
                <code>{s.id}</code>
              </Link>{' '}
              {s.test && <Tag>Test</Tag>}
            </>
          )}
        </span>
      </td>
      <td data-name="Where it goes">
        <span>
          {a.destination ? <code>{a.destination}</code> : <span className="quiet">Not tried yet</span>}
          {a.result?.__typename === 'WebhookReceipt' && <span className="hint"> answered {a.result.httpStatus}</span>}
          {a.failure && (
            <span className="hint what">
              {a.failure.message} <code>{a.failure.code}</code>
            </span>
          )}
          {a.state === 'PENDING' && a.nextAttemptAt && (
            <span className="hint what">
              Next attempt: <Time at={a.nextAttemptAt} />
            </span>
          )}
        </span>
      </td>
      <td data-name="Attempts" className="number">
        {a.attempts}
      </td>
      <td data-name="Changed" className="when">
        <Time at={a.updatedAt} />
      </td>
      <td>
        {a.state === 'FAILED' && mayWrite && (
          <button type="button" className="small" aria-label={`Retry for ${s.id}`} onClick={() => void send('retryAction', RetryActionOfIntegrationDocument, { id: a.id }).then(({ problems }) => onProblems(problems))}>
            Retry
          </button>
        )}
      </td>
    </tr>
  )
}

function Settings({ of: it }: { of: Integration }) {
  if (it.__typename === 'WebhookIntegration')
    return (
      <Section title="Settings">
        <Facts
          of={[
            ['Service', services[it.__typename]],
            ['URL', <Destination of={it} />],
            ['Documents', it.template ? `${appliesToNames[it.appliesTo]}, of ${it.template.name}` : appliesToNames[it.appliesTo]],
            ['Sent', it.sendWhen === 'PROCESSED' ? 'As soon as the document is made, or could not be' : 'Once its uploads, too, are done or given up'],
            ['Signing secret', 'Was shown when it was made'],
            ['Id', <code>{it.id}</code>],
            ['Created', <Time at={it.createdAt} />],
            ['Changed', <Time at={it.updatedAt} />],
          ]}
        />
      </Section>
    )
  const { pathTemplates: paths } = it
  const path = (p: string | null, blank: string) => (p ? <code>{p}</code> : <span className="quiet">{blank}</span>)
  return (
    <Section title="Settings">
      <div className="stack">
        <Facts
          of={[
            ['Service', services[it.__typename]],
            ['Bucket', <code>{it.bucket}</code>],
            ['AWS Region', it.region],
            ['Documents', appliesToNames[it.appliesTo]],
            ['AWS Access Key ID', <code>{it.accessKeyId}</code>],
            [
              'AWS Secret Access Key',
              <>
                Set on <Time at={it.secretAccessKeySetAt} />
              </>,
            ],
            it.endpoint !== null && ['Endpoint', <code>{it.endpoint}</code>],
            it.forcePathStyle && ['Addresses', <code>endpoint/bucket/key</code>],
            it.storageClass !== null && ['Storage class', it.storageClass],
            it.serverSideEncryption !== null && ['Server-side encryption', it.serverSideEncryption + (it.kmsKeyId ? `, key ${it.kmsKeyId}` : '')],
            ['Checksum', it.checksum === 'NONE' ? 'None' : it.checksum],
            ['Id', <code>{it.id}</code>],
            ['Created', <Time at={it.createdAt} />],
            ['Changed', <Time at={it.updatedAt} />],
          ]}
        />
        <h3>Path templates</h3>
        <dl className="facts rows">
          {(
            [
              ['Submissions', path(paths.submission, '')],
              ['Test submissions', path(paths.testSubmission, 'The same as live ones')],
              ['Combined PDFs', path(paths.combinedSubmission, 'Not copied')],
              ['Test combined PDFs', path(paths.testCombinedSubmission, paths.combinedSubmission ? 'The same as live ones' : 'Not copied')],
              ['Template versions', path(paths.templateVersion, 'Not copied')],
            ] as const
          ).map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </div>
    </Section>
  )
}
