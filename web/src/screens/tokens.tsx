import { useState } from 'react'
import { useRead } from '../api/read'
import { problemsOf, send, type Problem } from '../api/client'
import { ApiTokensDocument, CreateApiTokenDocument, RevokeApiTokenDocument, type ApiTokensQuery, type Environment, type TokenScope } from '../api/generated'
import { about, Busy, Confirm, Copy, Dialog, Empty, Input, others, Pager, Problems, Screen, Section, Select, Tag, Time, usePages } from '../parts/parts'
import { useViewer } from '../parts/viewer'
import './integration.css'

export const environments: Record<Environment, string> = { LIVE: 'Live', TEST: 'Test' }
export const scopes: Record<TokenScope, [string, string]> = {
  READ: ['Read', 'Queries, subscriptions and downloads.'],
  WRITE: ['Write', 'Reading, and making templates and documents and retrying their actions.'],
  ADMIN: ['Admin', 'Writing, and changing integrations and API tokens.'],
}

interface Made {
  name: string
  secret: string
}
type Token = ApiTokensQuery['apiTokens']['nodes'][number]

/** The keys to the account: for those who may hand them out. */
export function Tokens() {
  const { mayAdminister, token } = useViewer()
  if (mayAdminister) return <Listed />
  return (
    <Screen title="API tokens">
      <Empty title="This token may not see API tokens">
        <p>
          You are signed in with the token {token.name}, whose scope is {scopes[token.scope][0]}. Seeing, making and revoking tokens needs the scope Admin: sign out, and sign in with a token that has it. If
          there is none any more, <code>platen token create</code> on the server makes one.
        </p>
      </Empty>
    </Screen>
  )
}

function Listed() {
  const { token: own } = useViewer()
  const pages = usePages()
  const [{ data, error }, read] = useRead({ query: ApiTokensDocument, variables: { after: pages.after } })
  const [creating, setCreating] = useState(false)
  const [made, setMade] = useState<Made>()
  const [revoking, setRevoking] = useState<Token>()
  const tokens = data?.apiTokens.nodes
  const again = () => read({ requestPolicy: 'network-only' })

  async function revoke(id: string) {
    const { problems } = await send('revokeApiToken', RevokeApiTokenDocument, { id })
    if (!problems.length) again() // with one's own token the answer to this shows the way in
    return problems
  }
  return (
    <Screen
      title="API tokens"
      actions={
        <button type="button" className="primary" onClick={() => setCreating(true)}>
          Create API token
        </button>
      }
    >
      <p className="quiet">
        A token is a key to this account: whoever has its secret may do what its scope says. Give each program its own, with the least scope that will do, so that you can revoke one without the others.
      </p>
      {made && <Secret of={made} onKept={() => setMade(undefined)} />}
      <Problems of={problemsOf(error)} />
      {!tokens ? (
        !error && <Busy />
      ) : (
        <div className="table">
          <table className="cards tokens">
            <thead>
              <tr>
                <th>Name</th>
                <th>Ends in</th>
                <th>Environment</th>
                <th>Scope</th>
                <th>Created</th>
                <th>Last used</th>
                <th>Expires</th>
                <th>
                  <span className="hidden">Revoke</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {tokens.map((t) => (
                <tr key={t.id} className={ended(t) ? 'quiet' : ''}>
                  <td data-name="Name">
                    <span>
                      <b>{t.name}</b> {t.id === own.id && <Tag kind="good">Yours now</Tag>}
                    </span>
                  </td>
                  <td data-name="Ends in">
                    <code>…{t.hint}</code>
                  </td>
                  <td data-name="Environment">{t.environment === 'TEST' ? <Tag kind="waiting">Test</Tag> : environments[t.environment]}</td>
                  <td data-name="Scope">{scopes[t.scope][0]}</td>
                  <td data-name="Created" className="when">
                    <Time at={t.createdAt} />
                  </td>
                  <td data-name="Last used" className="when">
                    <Time at={t.lastUsedAt} none="Never" />
                  </td>
                  <td data-name="Expires" className="when">
                    <Time at={t.expiresAt} none="Never" />
                  </td>
                  <td className="end">
                    {t.revokedAt ? (
                      <span className="hint">
                        Revoked <Time at={t.revokedAt} />
                      </span>
                    ) : ended(t) ? (
                      <span className="hint">Expired</span>
                    ) : (
                      <button type="button" className="small danger" aria-label={`Revoke ${t.name}`} onClick={() => setRevoking(t)}>
                        Revoke…
                      </button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Pager pages={pages} info={data?.apiTokens.pageInfo} />

      {creating && (
        <Create
          onClose={() => setCreating(false)}
          onCreated={(token) => {
            setCreating(false)
            setMade(token)
            again()
          }}
        />
      )}
      {revoking && (
        <Confirm title={`Revoke ${revoking.name}?`} yes="Revoke" onYes={() => revoke(revoking.id)} onClose={() => setRevoking(undefined)}>
          {revoking.id === own.id && (
            <p className="warning">
              <span aria-hidden="true">⚠</span> <strong>You are signed in with this token.</strong> Once it is revoked, this page is signed out, and every other one that came in with it. Have another token ready.
            </p>
          )}
          <p>
            Requests with the token that ends in <code>…{revoking.hint}</code> are refused at once, and its websockets are closed. {revoking.lastUsedAt ? 'It was last used on ' : 'It was never used.'}
            {revoking.lastUsedAt && (
              <>
                <Time at={revoking.lastUsedAt} />.
              </>
            )}{' '}
            This cannot be undone.
          </p>
        </Confirm>
      )}
    </Screen>
  )
}

/** The secret of a new token. It stays on the page until it is said to be kept: no stray key closes it. */
function Secret({ of, onKept }: { of: Made; onKept: () => void }) {
  return (
    <Section title={`Keep the secret of ${of.name}`}>
      <div className="stack">
        <p role="status">
          <strong>This is the only time that it is shown.</strong> Copy it to where your program keeps its secrets. It is sent in the header <code>Authorization: Bearer …</code>
        </p>
        <p className="secret">
          <code>{of.secret}</code>
          <Copy text={of.secret} name="Copy the secret" />
        </p>
        <p>
          <button type="button" className="primary" onClick={onKept}>
            I have kept it
          </button>
        </p>
      </div>
    </Section>
  )
}

const ended = (t: Token) => Boolean(t.revokedAt || (t.expiresAt && t.expiresAt <= new Date().toISOString()))

type Expiry = 'never' | '30' | '90' | '365' | 'date'

function Create({ onCreated, onClose }: { onCreated: (made: Made) => void; onClose: () => void }) {
  const { testOnly } = useViewer()
  const [name, setName] = useState('')
  const [environment, setEnvironment] = useState<Environment>(testOnly ? 'TEST' : 'LIVE')
  const [scope, setScope] = useState<TokenScope>('WRITE')
  const [expiry, setExpiry] = useState<Expiry>('never')
  const [date, setDate] = useState('')
  const [problems, setProblems] = useState<Problem[]>([])
  const [busy, setBusy] = useState(false)
  const changed = (field: string) => setProblems((all) => others(all, ['input', field]))

  async function create() {
    if (expiry === 'date' && !date) return setProblems([{ message: 'Choose the day on which it expires.', code: 'REQUIRED', path: ['input', 'expiresAt'] }])
    const expiresAt = expiry === 'never' ? null : expiry === 'date' ? new Date(date + 'T00:00').toISOString() : new Date(Date.now() + Number(expiry) * 86_400_000).toISOString()
    setBusy(true)
    const { payload, problems: found } = await send('createApiToken', CreateApiTokenDocument, { input: { name: name.trim(), environment, scope, expiresAt } })
    setBusy(false)
    setProblems(found)
    if (payload?.secret) onCreated({ name: name.trim(), secret: payload.secret })
  }

  return (
    <Dialog title="Create API token" onClose={onClose}>
      <form
        noValidate
        onSubmit={(e) => {
          e.preventDefault()
          void create()
        }}
      >
        <Input
          label="Name"
          value={name}
          onInput={(e) => {
            setName(e.currentTarget.value)
            changed('name')
          }}
          errors={about(problems, 'input', 'name')}
          hint="Of the program that gets it, such as Billing service."
          autoFocus
        />
        <Select
          label="Environment"
          value={environment}
          options={[
            ['LIVE', 'Live'],
            ['TEST', 'Test'],
          ]}
          onChange={(v) => {
            setEnvironment(v)
            changed('environment')
          }}
          errors={about(problems, 'input', 'environment')}
          hint={environment === 'LIVE' ? 'Sees and makes live and test documents.' : 'Sees and makes test documents only, and changes integrations for test documents only.'}
        />
        <Select
          label="Scope"
          value={scope}
          options={(['READ', 'WRITE', 'ADMIN'] as const).map((s) => [s, scopes[s][0]] as const)}
          onChange={(v) => {
            setScope(v)
            changed('scope')
          }}
          errors={about(problems, 'input', 'scope')}
          hint={scopes[scope][1]}
        />
        <Select
          label="Expires"
          value={expiry}
          options={[
            ['never', 'Never'],
            ['30', 'In 30 days'],
            ['90', 'In 90 days'],
            ['365', 'In a year'],
            ['date', 'On a day…'],
          ]}
          onChange={(v) => {
            setExpiry(v)
            changed('expiresAt')
          }}
          errors={expiry === 'date' ? [] : about(problems, 'input', 'expiresAt')}
        />
        {expiry === 'date' && (
          <Input
            label="Day"
            type="date"
            value={date}
            onInput={(e) => {
              setDate(e.currentTarget.value)
              changed('expiresAt')
            }}
            errors={about(problems, 'input', 'expiresAt')}
            hint="It is refused from the beginning of this day on."
          />
        )}
        <Problems of={others(problems, ['input', 'name'], ['input', 'environment'], ['input', 'scope'], ['input', 'expiresAt'])} />
        <div className="row end">
          {busy && <Busy what="Creating" />}
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="primary" disabled={busy}>
            Create
          </button>
        </div>
      </form>
    </Dialog>
  )
}
