import { useState } from 'react'
import { Link } from 'wouter'
import { Copy, Facts, Screen, Section, Time } from '../parts/parts'
import { chooseTheme, theme, type Theme } from '../parts/theme'
import { useViewer } from '../parts/viewer'
import { environments, scopes } from './tokens'
import './integration.css'

/** The account, the token one came in with, how the page looks, and where the API is. */
export function Account() {
  const { account, token, mayAdminister } = useViewer()
  return (
    <Screen title={account.name}>
      <div className="columns">
        <Section title="Account">
          <Facts
            of={[
              ['Name', account.name],
              [
                'Id',
                <span className="row">
                  <code>{account.id}</code> <Copy text={account.id} name="Copy the id" />
                </span>,
              ],
              ['Created', <Time at={account.createdAt} />],
            ]}
          />
        </Section>
        <Section title="Your session" actions={mayAdminister && <Link to="/tokens">All API tokens</Link>}>
          <Facts
            of={[
              ['API token', token.name],
              ['Ends in', <code>…{token.hint}</code>],
              [
                'Environment',
                <>
                  {environments[token.environment]} <span className="hint">{token.environment === 'TEST' ? 'Test documents only.' : 'Live and test documents.'}</span>
                </>,
              ],
              [
                'Scope',
                <>
                  {scopes[token.scope][0]} <span className="hint">{scopes[token.scope][1]}</span>
                </>,
              ],
              ['Created', <Time at={token.createdAt} />],
              ['Expires', <Time at={token.expiresAt} none="Never" />],
            ]}
          />
        </Section>
      </div>
      <Look />
      <Addresses />
    </Screen>
  )
}

const themes: [Theme, string][] = [
  ['system', 'System'],
  ['light', 'Light'],
  ['dark', 'Dark'],
]

function Look() {
  const [chosen, setChosen] = useState(theme)
  return (
    <Section title="How the page looks">
      <fieldset className="choices">
        <legend className="hidden">Theme</legend>
        <div className="choices themes">
          {themes.map(([code, name]) => (
            <label key={code} className={chosen === code ? 'chosen' : ''}>
              <input
                type="radio"
                name="theme"
                checked={chosen === code}
                onChange={() => {
                  setChosen(code)
                  chooseTheme(code)
                }}
              />
              <b>{name}</b>
            </label>
          ))}
        </div>
        <p className="hint">Kept in this browser. The playground follows it.</p>
      </fieldset>
    </Section>
  )
}

function Addresses() {
  const at = (path: string) => location.origin + path
  const addresses: [string, string, string][] = [
    ['GraphQL', at('/graphql'), 'Queries and mutations by POST; subscriptions by websocket or Server-Sent Events, at the same address.'],
    ['Schema', at('/schema.graphql'), 'The contract, and its manual.'],
    ['Metrics', at('/metrics'), 'For Prometheus.'],
  ]
  const query = `{ account { name } submissions(first: 5) { nodes { id state downloadUrl } } }`
  const curl = `curl -s ${at('/graphql')} \\
  -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
  -d '${JSON.stringify({ query })}'`
  return (
    <Section title="The API">
      <div className="stack">
        <p>
          This page is made of the API alone: whatever it does, your programs can do. Try it in <a href="/playground">the playground</a>, or with a token in the variable <code>TOKEN</code>:
        </p>
        <div className="json">
          <pre tabIndex={0}>{curl}</pre>
          <Copy text={curl} name="Copy the command" />
        </div>
        <dl className="facts rows">
          {addresses.map(([name, address, meaning]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>
                <span className="row">
                  <code>{address}</code> <Copy text={address} name={`Copy the address: ${name}`} />
                </span>
                <span className="hint">{meaning}</span>
              </dd>
            </div>
          ))}
        </dl>
      </div>
    </Section>
  )
}
