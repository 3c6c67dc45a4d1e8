import { useState } from 'react'
import { useLocation } from 'wouter'
import { Copy, Screen, Section, Select } from '../parts/parts'
import { useViewer } from '../parts/viewer'
import { S3Form, WebhookForm } from './integration-form'

const back = { to: '/integrations', name: 'Integrations' }

/** Makes an integration: first its service, then what that service needs. */
export function CreateIntegration() {
  const [, go] = useLocation()
  const { mayAdminister } = useViewer()
  const [service, setService] = useState<'AWS_S3' | 'WEBHOOK'>('AWS_S3')
  const [made, setMade] = useState<{ id: string; secret: string }>()
  const open = (id: string) => go('/integrations/' + id)

  if (!mayAdminister)
    return (
      <Screen title="Create Integration" back={back}>
        <p>This token may not make integrations: that needs one with the scope ADMIN. Sign in with such a token, or ask whoever has one.</p>
      </Screen>
    )
  if (made)
    return (
      <Screen title="Keep the signing secret" back={back}>
        <Section title="The signing secret">
          <div className="stack">
            <p>
              The webhook is made. <strong>This is the only time that its secret is shown.</strong> Put it where your receiver keeps its secrets, such as an environment variable, and check the header{' '}
              <code>webhook-signature</code> of each request with it.
            </p>
            <p className="secret">
              <code>{made.secret}</code>
              <Copy text={made.secret} name="Copy the secret" />
            </p>
            <p className="row">
              <button type="button" className="primary" onClick={() => open(made.id)}>
                I have kept it
              </button>
            </p>
          </div>
        </Section>
      </Screen>
    )
  return (
    <Screen title="Create Integration" back={back}>
      <div className="box service">
        <Select
          label="Service"
          value={service}
          options={[
            ['AWS_S3', 'AWS S3'],
            ['WEBHOOK', 'Webhook'],
          ]}
          onChange={setService}
          hint={service === 'AWS_S3' ? 'Copies each document into your bucket, at AWS or at any S3-compatible server.' : 'Posts each document as signed JSON to an address of yours.'}
        />
      </div>
      {/* Both stay as they are filled in while one looks at the other. */}
      <div hidden={service !== 'AWS_S3'}>
        <S3Form onDone={open} onCancel={() => go(back.to)} />
      </div>
      <div hidden={service !== 'WEBHOOK'}>
        <WebhookForm onDone={(id, secret) => (secret ? setMade({ id, secret }) : open(id))} onCancel={() => go(back.to)} />
      </div>
    </Screen>
  )
}
