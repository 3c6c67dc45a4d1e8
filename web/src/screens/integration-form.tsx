import { useRef, useState, type FormEvent, type ReactNode } from 'react'
import { useRead } from '../api/read'
import { send, type Problem } from '../api/client'
import {
  CreateAwsS3IntegrationDocument,
  CreateWebhookIntegrationDocument,
  IntegrationChoicesDocument,
  UpdateAwsS3IntegrationDocument,
  UpdateWebhookIntegrationDocument,
  WebhookTemplatesDocument,
  type AppliesTo,
  type IntegrationPartsFragment,
  type S3Checksum,
  type S3PathTemplatesInput,
  type WebhookMoment,
} from '../api/generated'
import { about, Busy, Check, Copy, Field, Input, others, Problems, Section, Select, Time } from '../parts/parts'
import { useViewer } from '../parts/viewer'
import { defaultPaths, pathNames, PathTemplates, type PathName, type Paths } from './integration-paths'
import './integration.css'

export type S3 = Extract<IntegrationPartsFragment, { __typename: 'AwsS3Integration' }>
export type Webhook = Extract<IntegrationPartsFragment, { __typename: 'WebhookIntegration' }>

export const appliesToNames: Record<AppliesTo, string> = { LIVE: 'Only Live', TEST: 'Only Test', LIVE_AND_TEST: 'Both' }

/** A link to the pages of others. */
export function Outside({ to, children }: { to: string; children: ReactNode }) {
  return (
    <a href={to} target="_blank" rel="noreferrer">
      {children}
      <span aria-hidden="true"> ↗</span>
      <span className="hidden"> (in a new tab)</span>
    </a>
  )
}

/** Which documents an integration is for. A test token may choose test documents only. */
function AppliesToField({ value, onChange, errors }: { value: AppliesTo; onChange: (value: AppliesTo) => void; errors: string[] }) {
  const { testOnly } = useViewer()
  const choices: [AppliesTo, string, string][] = [
    ['LIVE', appliesToNames.LIVE, 'Without the watermark'],
    ['TEST', appliesToNames.TEST, 'With the watermark'],
    ['LIVE_AND_TEST', appliesToNames.LIVE_AND_TEST, 'Every document'],
  ]
  return (
    <fieldset className="choices">
      <legend>Which documents</legend>
      <div className="choices">
        {choices.map(([code, name, meaning]) => (
          <label key={code} className={value === code ? 'chosen' : ''}>
            <input type="radio" name="applies-to" checked={value === code} disabled={testOnly && code !== 'TEST'} onChange={() => onChange(code)} />
            <span>
              <b>{name}</b>
              <span className="hint">{meaning}</span>
            </span>
          </label>
        ))}
      </div>
      {testOnly && <p className="hint">A test token changes integrations for test documents only.</p>}
      {errors.length > 0 && (
        <div className="errors" role="alert">
          {errors.join(' ')}
        </div>
      )}
    </fieldset>
  )
}

/** What the refusal of a form says, field by field; what is said of a field goes once it is changed. */
function useProblems() {
  const [problems, setProblems] = useState<Problem[]>([])
  return {
    set: setProblems,
    of: (...path: string[]) => about(problems, 'input', ...path),
    changed: (...path: string[]) => setProblems((all) => (all.length ? others(all, ['input', ...path]) : all)),
    /** Those that are about none of these fields. */
    rest: (paths: string[][]) => others(problems, ...paths.map((path) => ['input', ...path])),
    any: problems.length > 0,
  }
}

/** Goes to the first field that is wrong, once it is marked. */
function toFirstMistake(form: HTMLFormElement) {
  setTimeout(() => form.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus(), 50)
}

/** The same input is sent with the same key: an answer that is lost makes no second integration. */
function useIdempotencyKey() {
  const last = useRef({ of: '', key: '' })
  return (input: unknown) => {
    const of = JSON.stringify(input)
    if (last.current.of !== of) last.current = { of, key: Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('') }
    return last.current.key
  }
}

interface S3Values {
  name: string
  accessKeyId: string
  secretAccessKey: string
  region: string
  bucket: string
  appliesTo: AppliesTo
  paths: Paths
  endpoint: string
  forcePathStyle: boolean
  storageClass: string
  serverSideEncryption: string
  kmsKeyId: string
  checksum: S3Checksum
}

function s3Values(of: S3 | undefined, testOnly: boolean): S3Values {
  return {
    name: of?.name ?? '',
    accessKeyId: of?.accessKeyId ?? '',
    secretAccessKey: '',
    region: of?.region ?? '',
    bucket: of?.bucket ?? '',
    appliesTo: of?.appliesTo ?? (testOnly ? 'TEST' : 'LIVE'),
    paths: of ? (Object.fromEntries(pathNames.map((name) => [name, of.pathTemplates[name] ?? ''])) as Paths) : defaultPaths,
    endpoint: of?.endpoint ?? '',
    forcePathStyle: of?.forcePathStyle ?? false,
    storageClass: of?.storageClass ?? '',
    serverSideEncryption: of?.serverSideEncryption ?? '',
    kmsKeyId: of?.kmsKeyId ?? '',
    checksum: of?.checksum ?? 'MD5',
  }
}

const fieldsOfS3 = ['name', 'accessKeyId', 'secretAccessKey', 'region', 'bucket', 'appliesTo', 'endpoint', 'storageClass', 'serverSideEncryption', 'kmsKeyId', 'checksum'].map((f) => [f])
const optional = ['endpoint', 'storageClass', 'serverSideEncryption', 'kmsKeyId', 'checksum']

const orNull = (text: string) => text.trim() || null

/** The form of an S3 integration: for a new one, or for one that is there. */
export function S3Form({ of, onDone, onCancel }: { of?: S3; onDone: (id: string) => void; onCancel: () => void }) {
  const { testOnly } = useViewer()
  // What it was when one began: what others change meanwhile is left as they made it.
  const [start] = useState(() => s3Values(of, testOnly))
  const [values, setValues] = useState(start)
  const [replacing, setReplacing] = useState(!of)
  const [options, showOptions] = useState(Boolean(of && (of.endpoint || of.forcePathStyle || of.storageClass || of.serverSideEncryption || of.checksum !== 'MD5')))
  const [busy, setBusy] = useState(false)
  const problems = useProblems()
  const keyOf = useIdempotencyKey()

  function set<K extends keyof S3Values>(name: K, value: S3Values[K]) {
    setValues((v) => ({ ...v, [name]: value }))
    problems.changed(name)
    if (name === 'accessKeyId' && of && value !== of.accessKeyId) setReplacing(true)
  }
  function setPath(name: PathName, path: string) {
    setValues((v) => ({ ...v, paths: { ...v.paths, [name]: path } }))
    problems.changed('pathTemplates', name)
  }

  /** All fields as the API wants them; of one that is there, those that were changed. */
  function changed() {
    const now = asInput(values)
    if (!of) return now
    const before = asInput(start)
    const input = Object.fromEntries(Object.entries(now).filter(([name, value]) => name !== 'pathTemplates' && value !== before[name as keyof typeof before]))
    const paths = Object.fromEntries(pathNames.filter((name) => values.paths[name] !== start.paths[name]).map((name) => [name, orNull(values.paths[name])]))
    if (Object.keys(paths).length) input.pathTemplates = paths
    if (!replacing) delete input.secretAccessKey
    return input
  }

  async function save(e: FormEvent<HTMLFormElement>) {
    e.preventDefault()
    const form = e.currentTarget
    setBusy(true)
    let found: Problem[]
    let id: string | undefined
    if (of) {
      const { problems: refused, payload } = await send('updateAwsS3Integration', UpdateAwsS3IntegrationDocument, { id: of.id, input: changed() })
      found = refused
      id = payload?.integration?.id
    } else {
      const input = asInput(values)
      const { problems: refused, payload } = await send('createAwsS3Integration', CreateAwsS3IntegrationDocument, { input: { ...input, idempotencyKey: keyOf(input) } })
      found = refused
      id = payload?.integration?.id
    }
    setBusy(false)
    problems.set(found)
    if (found.some((p) => optional.includes(p.path[1] ?? ''))) showOptions(true)
    if (found.length) toFirstMistake(form)
    else if (id) onDone(id)
  }

  return (
    <form onSubmit={save} noValidate>
      <Section title="The bucket, and the keys to it">
        <div className="with-aside">
          <div className="stack">
            <Input label="Name" value={values.name} onInput={(e) => set('name', e.currentTarget.value)} errors={problems.of('name')} hint="By which people know it, such as Invoices archive." autoFocus={!of} />
            <Input
              label="AWS Access Key ID"
              className="code"
              value={values.accessKeyId}
              onInput={(e) => set('accessKeyId', e.currentTarget.value)}
              errors={problems.of('accessKeyId')}
              hint="Of a user that may only put objects into this bucket."
            />
            {replacing ? (
              <Field
                label="AWS Secret Access Key"
                errors={problems.of('secretAccessKey')}
                hint={
                  <>
                    Stored encrypted, and never shown again.{' '}
                    {of && values.accessKeyId === of.accessKeyId && (
                      <button type="button" className="plain" onClick={() => (set('secretAccessKey', ''), setReplacing(false))}>
                        Keep the present one
                      </button>
                    )}
                  </>
                }
              >
                {(given) => <input type="password" className="code" autoComplete="new-password" spellCheck={false} value={values.secretAccessKey} onInput={(e) => set('secretAccessKey', e.currentTarget.value)} {...given} />}
              </Field>
            ) : (
              <div className="field">
                <span className="label">AWS Secret Access Key</span>
                <p className="row">
                  <span>
                    Set on <Time at={of!.secretAccessKeySetAt} />
                  </span>
                  <button type="button" className="small" onClick={() => setReplacing(true)}>
                    Replace
                  </button>
                </p>
              </div>
            )}
            <Region value={values.region} endpoint={values.endpoint} onChange={(region) => set('region', region)} errors={problems.of('region')} />
            <Input
              label="Bucket"
              className="code"
              value={values.bucket}
              onInput={(e) => set('bucket', e.currentTarget.value)}
              errors={problems.of('bucket')}
              hint={
                <>
                  Its name alone, without s3://. With <Outside to="https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html">versioning</Outside> it keeps what is overwritten.
                </>
              }
            />
            <AppliesToField value={values.appliesTo} onChange={(v) => set('appliesTo', v)} errors={problems.of('appliesTo')} />
          </div>
          <Policy bucket={values.bucket.trim()} region={values.region} kms={values.serverSideEncryption.startsWith('aws:kms') ? values.kmsKeyId.trim() : undefined} />
        </div>
      </Section>

      <Section title="Where documents go in the bucket">
        <p className="quiet">
          A path template makes each document's key. Whatever is not between <code>{'{{'}</code> and <code>{'}}'}</code> is taken as it is; a <code>/</code> makes a folder. In values of metadata and names of
          templates, what is not <Outside to="https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html">safe in keys</Outside> becomes an underscore. A key that exists already is overwritten: use
          a variable that is unique.
        </p>
        <PathTemplates value={values.paths} bucket={values.bucket.trim()} liveOnly={values.appliesTo === 'LIVE'} onChange={setPath} errors={(name) => problems.of('pathTemplates', name)} />
      </Section>

      <details className="box" open={options} onToggle={(e) => showOptions(e.currentTarget.open)}>
        <summary>
          <h2>S3-compatible servers, encryption, storage class</h2> <span className="hint">MinIO, Cellar, R2, … and what else a bucket may want</span>
        </summary>
        <div className="stack">
          <Input
            label="Endpoint"
            className="code"
            placeholder="https://s3.example.com:9000"
            value={values.endpoint}
            onInput={(e) => set('endpoint', e.currentTarget.value)}
            errors={problems.of('endpoint')}
            hint="Blank: AWS. Else the address of an S3-compatible server, http or https."
          />
          <Check
            label="The bucket is part of the path"
            checked={values.forcePathStyle}
            onChange={(v) => set('forcePathStyle', v)}
            hint={
              <>
                <code>endpoint/bucket/key</code>, as most S3-compatible servers want it, in place of <code>bucket.endpoint/key</code>.
              </>
            }
          />
          <div className="columns even">
            <Input
              label="Storage class"
              list="storage-classes"
              value={values.storageClass}
              onInput={(e) => set('storageClass', e.currentTarget.value)}
              errors={problems.of('storageClass')}
              hint="Blank: the bucket's default."
            />
            <Select
              label="Server-side encryption"
              value={values.serverSideEncryption}
              options={[
                ['', "The bucket's default"],
                ['AES256', 'AES256: keys of S3'],
                ['aws:kms', 'aws:kms: a key of KMS'],
                ['aws:kms:dsse', 'aws:kms:dsse: twice, with a key of KMS'],
              ]}
              onChange={(v) => set('serverSideEncryption', v)}
              errors={problems.of('serverSideEncryption')}
            />
            <Input
              label="KMS key"
              className="code"
              value={values.kmsKeyId}
              onInput={(e) => set('kmsKeyId', e.currentTarget.value)}
              errors={problems.of('kmsKeyId')}
              hint="With aws:kms: its id or ARN. Blank: the account's default key."
            />
            <Select
              label="Checksum"
              value={values.checksum}
              options={[
                ['MD5', 'MD5: works everywhere'],
                ['CRC32', 'CRC32'],
                ['SHA256', 'SHA256'],
                ['NONE', 'None: only TLS guards the bytes'],
              ]}
              onChange={(v) => set('checksum', v)}
              errors={problems.of('checksum')}
              hint="How the bucket can tell that the bytes arrived as they were sent. Some buckets demand one (Object Lock)."
            />
          </div>
          <datalist id="storage-classes">
            {['STANDARD', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER_IR', 'GLACIER', 'DEEP_ARCHIVE'].map((c) => (
              <option key={c} value={c} />
            ))}
          </datalist>
        </div>
      </details>

      <Problems of={problems.rest([...fieldsOfS3, ...pathNames.map((name) => ['pathTemplates', name])])} />
      <Buttons busy={busy} mistakes={problems.any} name={of ? 'Save changes' : 'Create Integration'} nothing={Boolean(of && !Object.keys(changed()).length)} onCancel={onCancel} />
    </form>
  )
}

function asInput(v: S3Values) {
  return {
    name: v.name.trim(),
    appliesTo: v.appliesTo,
    accessKeyId: v.accessKeyId.trim(),
    secretAccessKey: v.secretAccessKey.trim(),
    region: v.region.trim(),
    bucket: v.bucket.trim(),
    endpoint: orNull(v.endpoint),
    forcePathStyle: v.forcePathStyle,
    storageClass: orNull(v.storageClass),
    serverSideEncryption: orNull(v.serverSideEncryption),
    kmsKeyId: orNull(v.kmsKeyId),
    checksum: v.checksum,
    pathTemplates: Object.fromEntries(pathNames.map((name) => [name, orNull(v.paths[name])])) as S3PathTemplatesInput,
  }
}

function Buttons({ busy, mistakes, name, nothing, onCancel }: { busy: boolean; mistakes: boolean; name: string; nothing?: boolean; onCancel: () => void }) {
  return (
    <div className="row form-end">
      <button type="submit" className="primary" disabled={busy || nothing}>
        {name}
      </button>
      <button type="button" onClick={onCancel}>
        Cancel
      </button>
      {busy && <Busy what="Saving" />}
      {mistakes && !busy && <span className="errors">Not saved: see what is marked.</span>}
      {nothing && <span className="quiet">Nothing is changed yet.</span>}
    </div>
  )
}

/** AWS's regions, and a way to name another. */
function Region({ value, endpoint, onChange, errors }: { value: string; endpoint: string; onChange: (region: string) => void; errors: string[] }) {
  const [{ data }] = useRead({ query: IntegrationChoicesDocument })
  const [own, setOwn] = useState(false)
  const regions = data?.awsRegions ?? []
  const known = !data || value === '' || regions.some((r) => r.code === value)
  const other = own || !known
  return (
    <>
      <Select
        label="AWS Region"
        value={other ? 'other' : value}
        options={[
          ...(value === '' && !other ? [['', 'Choose…'] as const] : []),
          ...(data ? [] : value ? [[value, value] as const] : []),
          ...regions.map((r) => [r.code, `${r.name}  ${r.code}`] as const),
          ['other', 'Another one, of an S3-compatible server…'],
        ]}
        onChange={(code) => {
          setOwn(code === 'other')
          onChange(code === 'other' ? '' : code)
        }}
        errors={other ? [] : errors}
        hint={endpoint && !other ? 'Servers without regions take us-east-1 or auto.' : undefined}
      />
      {other && (
        <Input
          label="Region of the S3-compatible server"
          className="code"
          placeholder="auto"
          value={value}
          onInput={(e) => {
            setOwn(true)
            onChange(e.currentTarget.value)
          }}
          errors={errors}
          hint="Servers without regions take us-east-1 or auto."
        />
      )}
    </>
  )
}

/** The policy of a user that may do what Platen does, and nothing else. */
function Policy({ bucket, region, kms }: { bucket: string; region: string; kms: string | undefined }) {
  const partition = region.startsWith('cn-') ? 'aws-cn' : region.startsWith('us-gov-') ? 'aws-us-gov' : region.startsWith('eusc-') ? 'aws-eusc' : 'aws'
  const statements: Record<string, string>[] = [{ Effect: 'Allow', Action: 's3:PutObject', Resource: `arn:${partition}:s3:::${bucket || 'YOUR-BUCKET'}/*` }]
  if (kms?.startsWith('arn:')) statements.push({ Effect: 'Allow', Action: 'kms:GenerateDataKey', Resource: kms })
  const text = JSON.stringify({ Version: '2012-10-17', Statement: statements }, null, 2)
  return (
    <aside className="aside" aria-label="The user's policy">
      <h3>The user's policy</h3>
      <p>
        Platen only ever puts objects. In AWS's console: IAM, Users, Create user, without access to the console; then Add permissions, Create inline policy, JSON, and this text. Its access key comes from
        Security credentials.
      </p>
      <div className="json">
        <pre tabIndex={0}>{text}</pre>
        <Copy text={text} name="Copy the policy" />
      </div>
      {!bucket && <p className="hint">Type the bucket's name, and it is in here.</p>}
      {kms !== undefined && !kms.startsWith('arn:') && (
        <p className="hint">
          With a key of KMS, the user needs <code>kms:GenerateDataKey</code> on that key too.
        </p>
      )}
    </aside>
  )
}

/** The form of a webhook: for a new one, or for one that is there. */
export function WebhookForm({ of, onDone, onCancel }: { of?: Webhook; onDone: (id: string, secret?: string) => void; onCancel: () => void }) {
  const { testOnly } = useViewer()
  const [start] = useState(() => ({
    name: of?.name ?? '',
    url: of?.url ?? '',
    templateId: of?.template?.id ?? '',
    appliesTo: of?.appliesTo ?? ((testOnly ? 'TEST' : 'LIVE_AND_TEST') as AppliesTo),
    sendWhen: of?.sendWhen ?? ('PROCESSED' as WebhookMoment),
  }))
  const [values, setValues] = useState(start)
  const [busy, setBusy] = useState(false)
  const problems = useProblems()
  const [{ data }] = useRead({ query: WebhookTemplatesDocument })
  const templates = data?.templates.nodes ?? []

  function set<K extends keyof typeof start>(name: K, value: (typeof start)[K]) {
    setValues((v) => ({ ...v, [name]: value }))
    problems.changed(name)
  }
  const whole = () => ({ ...values, name: values.name.trim(), url: values.url.trim(), templateId: values.templateId || null })
  const changed = () => Object.fromEntries(Object.entries(whole()).filter(([name, value]) => (value ?? '') !== start[name as keyof typeof start]))

  async function save(e: FormEvent<HTMLFormElement>) {
    e.preventDefault()
    const form = e.currentTarget
    setBusy(true)
    const answer = of
      ? await send('updateWebhookIntegration', UpdateWebhookIntegrationDocument, { id: of.id, input: changed() })
      : await send('createWebhookIntegration', CreateWebhookIntegrationDocument, { input: whole() })
    setBusy(false)
    problems.set(answer.problems)
    if (answer.problems.length) return toFirstMistake(form)
    const made = answer.payload
    if (made?.integration) onDone(made.integration.id, 'secret' in made ? (made.secret ?? undefined) : undefined)
  }

  return (
    <form onSubmit={save} noValidate>
      <Section title="Where it posts to, and when">
        <div className="with-aside">
          <div className="stack">
            <Input label="Name" value={values.name} onInput={(e) => set('name', e.currentTarget.value)} errors={problems.of('name')} hint="By which people know it, such as Order service." autoFocus={!of} />
            <Input
              label="URL"
              type="url"
              className="code"
              placeholder="https://example.com/webhooks/platen"
              value={values.url}
              onInput={(e) => set('url', e.currentTarget.value)}
              errors={problems.of('url')}
              hint="http or https. It has to answer with 200 to 299."
            />
            <Select
              label="Template"
              value={values.templateId}
              options={[
                ['', 'All documents'],
                ...(of?.template && !templates.some((t) => t.id === of.template!.id) ? [[of.template.id, of.template.name] as const] : []),
                ...templates.map((t) => [t.id, t.name] as const),
              ]}
              onChange={(v) => set('templateId', v)}
              errors={problems.of('templateId')}
              hint="Documents of one template only, or all."
            />
            <AppliesToField value={values.appliesTo} onChange={(v) => set('appliesTo', v)} errors={problems.of('appliesTo')} />
            <Select
              label="When it is sent"
              value={values.sendWhen}
              options={[
                ['PROCESSED', 'As soon as the document is made, or could not be'],
                ['DELIVERED', 'Once its uploads, too, are done or given up'],
              ]}
              onChange={(v) => set('sendWhen', v)}
              errors={problems.of('sendWhen')}
              hint={values.sendWhen === 'PROCESSED' ? 'Its uploads may still be pending then.' : 'The body then says what became of each upload.'}
            />
          </div>
          <aside className="aside" aria-label="What it posts">
            <h3>What it posts</h3>
            <p>
              The document as JSON, with its actions: <code>{'{"submission": {…}}'}</code> or <code>{'{"combined_submission": {…}}'}</code>.
            </p>
            <p>
              Each is signed. {of ? 'Check signatures with the secret that was shown when the webhook was made.' : 'The signing secret is shown once, when the webhook is made: have the place ready where your receiver keeps its secrets.'}
            </p>
            <p>What is not accepted is tried again for at least a day.</p>
          </aside>
        </div>
      </Section>
      <Problems of={problems.rest([['name'], ['url'], ['templateId'], ['appliesTo'], ['sendWhen']])} />
      <Buttons busy={busy} mistakes={problems.any} name={of ? 'Save changes' : 'Create Integration'} nothing={Boolean(of && !Object.keys(changed()).length)} onCancel={onCancel} />
    </form>
  )
}

