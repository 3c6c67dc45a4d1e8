// What is done with a document once it is there: the copies into buckets, the webhooks.
import { useEffect, useRef, useState } from 'react'
import { Link } from 'wouter'
import { send, type Problem } from '../api/client'
import { RetryActionDocument, type ActionPartsFragment, type ActionType, type DocumentPartsFragment } from '../api/generated'
import { readOnly } from './create-link'
import { tally } from './documents-table'
import { bytes, Copy, count, Dialog, Facts, FailureNote, others, Problems, Section, State, Time } from './parts'
import { noPresigned, PresignedFields, presignedInput } from './presigned'
import { useViewer } from './viewer'
import './actions.css'

export const actionTypes: Record<ActionType, string> = { AWS_S3_UPLOAD: 'S3 upload', PRESIGNED_UPLOAD: 'Presigned upload', WEBHOOK: 'Webhook' }

/** The Actions section of a document's page. It is given the document as it is now, and follows. */
export function Actions({ of: document }: { of: DocumentPartsFragment }) {
  const { all, failed } = tally(document.actions)
  const made = document.state === 'PROCESSED'
  // The API has them by their ids, which are random.
  const actions = [...document.actions].sort((a, b) => nameOf(a).localeCompare(nameOf(b)) || a.id.localeCompare(b.id))
  return (
    <Section title="Actions">
      {failed > 0 && made && (
        <p>
          {document.expired
            ? `The document was made. ${failed === all ? 'Its delivery' : `${failed} of its ${all} deliveries`} failed.`
            : `The document itself is fine and can be downloaded: ${failed} of ${count(all, 'delivery', 'deliveries')} failed. Mend what the reason says, then retry.`}
        </p>
      )}
      {actions.length ? (
        <ul className="actions">
          {actions.map((action) => (
            <ActionRow key={action.id} of={action} gone={document.expired} />
          ))}
        </ul>
      ) : (
        <p className="quiet">{document.state === 'PENDING' ? 'They begin as soon as the document is made.' : made ? <NoneApply test={document.test} /> : 'A document that could not be made is not uploaded.'}</p>
      )}
    </Section>
  )
}

function NoneApply({ test }: { test: boolean }) {
  return (
    <>
      Nothing is done with this document: no <Link to="/integrations">integration</Link> was for {test ? 'test' : 'live'} documents when it was made, and no presigned URL came with it.
    </>
  )
}

const nameOf = (a: ActionPartsFragment) => a.integration?.name ?? (a.type === 'PRESIGNED_UPLOAD' ? 'Presigned URL' : 'Deleted integration')

function ActionRow({ of: action, gone }: { of: ActionPartsFragment; gone: boolean }) {
  return (
    <li data-id={action.id} className={action.state.toLowerCase()}>
      <div className="head">
        <span className="row">
          <State of={action.state} />
          <strong>{action.integration ? <Link to={'/integrations/' + action.integration.id}>{action.integration.name}</Link> : nameOf(action)}</strong>
          <span className="quiet">{actionTypes[action.type]}</span>
        </span>
        <span className="row quiet progress">
          <Progress of={action} />
          {action.state === 'FAILED' && <Retry of={action} gone={gone && action.type !== 'WEBHOOK'} />}
        </span>
      </div>
      {action.destination && (
        <p className="destination">
          <span className="hidden">Destination: </span>
          <code>{action.destination}</code>
        </p>
      )}
      {action.failure && (
        <>
          {action.state === 'PENDING' && <p className="quiet">The latest attempt failed:</p>}
          <FailureNote of={action.failure} />
        </>
      )}
      {action.result && <Receipt of={action.result} />}
    </li>
  )
}

function Progress({ of: action }: { of: ActionPartsFragment }) {
  const tried = count(action.attempts, 'attempt')
  if (action.state === 'PROCESSED')
    return (
      <span>
        <Time at={action.updatedAt} />
        {action.attempts > 1 && `, after ${tried}`}
      </span>
    )
  if (action.state === 'FAILED') return <span>{action.attempts ? `Given up after ${tried}` : 'Given up before it was tried'}</span>
  if (!action.nextAttemptAt) return <span>{action.attempts ? `Trying again, after ${tried}` : 'Under way'}</span>
  return (
    <span>
      {action.attempts > 0 && `${tried}; `}next one <Until at={action.nextAttemptAt} />
    </span>
  )
}

/** How long it is until then, said calmly. */
export function Until({ at }: { at: string }) {
  const [now, setNow] = useState(Date.now())
  const left = Math.max(0, new Date(at).getTime() - now)
  useEffect(() => {
    const timer = setTimeout(() => setNow(Date.now()), left > 60_000 ? 10_000 : 1000)
    return () => clearTimeout(timer)
  }, [now])
  const seconds = Math.ceil(left / 1000)
  const text = seconds < 1 ? 'now' : seconds < 60 ? `in ${seconds} s` : seconds < 5400 ? `in ${Math.round(seconds / 60)} min` : `in ${Math.round(seconds / 3600)} h`
  return (
    <time dateTime={at} title={at.replace('T', ' ').replace('Z', ' UTC')}>
      {text}
    </time>
  )
}

function Receipt({ of }: { of: NonNullable<ActionPartsFragment['result']> }) {
  if (of.__typename === 'WebhookReceipt')
    return (
      <details>
        <summary>Receipt</summary>
        <Facts
          of={[
            ['Answer', `HTTP ${of.httpStatus}`],
            ['Delivered', <Time at={of.deliveredAt} />],
            ['Address', <Copied text={of.url} />],
          ]}
        />
      </details>
    )
  return (
    <details>
      <summary>Receipt</summary>
      <Facts
        of={[
          of.bucket != null && ['Bucket', of.bucket],
          of.region != null && ['Region', of.region],
          of.key != null && ['Key', <Copied text={of.key} />],
          ['URL', <Copied text={of.url} />],
          of.etag != null && ['ETag', <Copied text={of.etag} />],
          of.versionId != null && ['Version', <Copied text={of.versionId} />],
          ['Size', bytes(of.byteSize)],
          ['SHA-256', <Copied text={of.sha256} />],
          ['Uploaded', <Time at={of.uploadedAt} />],
        ]}
      />
    </details>
  )
}

/** A code with a button that copies it. */
export function Copied({ text }: { text: string }) {
  return (
    <span className="copied">
      <code>{text}</code> <Copy text={text} name={`Copy ${text}`} />
    </span>
  )
}

// These cannot go well again with the address that the action has.
const spent = ['PRESIGNED_URL_EXPIRED', 'SIGNATURE_MISMATCH', 'SECRET_UNREADABLE']

/** gone: there is no file left to deliver. */
function Retry({ of: action, gone }: { of: ActionPartsFragment; gone: boolean }) {
  const { mayWrite } = useViewer()
  const [busy, setBusy] = useState(false)
  const [asking, setAsking] = useState(false)
  const [problems, setProblems] = useState<Problem[]>([])
  const [presigned, setPresigned] = useState(noPresigned)
  const here = useRef(true)
  useEffect(() => () => void (here.current = false), [])
  const another = action.type === 'PRESIGNED_UPLOAD'
  const needed = another && spent.includes(action.failure?.code ?? '')

  async function retry() {
    setBusy(true)
    const { problems } = await send('retryAction', RetryActionDocument, { id: action.id, presignedUpload: presignedInput(presigned) ?? null })
    if (!here.current) return // it is pending again already, and this button is gone
    setBusy(false)
    setProblems(problems)
    if (!problems.length) setAsking(false)
  }
  const at = ['presignedUpload']
  return (
    <>
      <button type="button" className="small" disabled={!mayWrite || busy || gone} title={!mayWrite ? readOnly : gone ? 'The copy was deleted when the document expired: there is nothing left to deliver.' : undefined} aria-label={`Retry ${nameOf(action)}`} onClick={() => (another ? setAsking(true) : void retry())}>
        {busy ? 'Retrying…' : 'Retry'}
      </button>
      {!asking && <Problems of={problems} />}
      {asking && (
        <Dialog title="Retry the upload" onClose={() => setAsking(false)}>
          <form
            onSubmit={(e) => {
              e.preventDefault()
              void retry()
            }}
          >
            <p>{needed ? 'The address that came with the document is of no more use. Sign a new one, and give it here.' : 'Leave the address empty to try the one that came with the document again.'}</p>
            <PresignedFields value={presigned} onChange={setPresigned} problems={problems} at={at} required={needed} />
            <Problems of={others(problems, at)} />
            <div className="row end">
              <button type="button" onClick={() => setAsking(false)}>
                Cancel
              </button>
              <button type="submit" className="primary" disabled={busy}>
                Retry
              </button>
            </div>
          </form>
        </Dialog>
      )}
    </>
  )
}
