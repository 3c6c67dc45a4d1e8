import { useLayoutEffect, useRef, useState } from 'react'
import { useRead } from '../api/read'
import { Link, useLocation, useSearchParams } from 'wouter'
import { problemsOf, send, type Problem } from '../api/client'
import { useKey } from '../api/files'
import { CreateSubmissionDocument, SubmissionToRepeatDocument, TemplateToFillDocument, type CreateSubmissionInput, type OutputKind } from '../api/generated'
import { readOnly } from '../parts/create-link'
import { Choice, JsonInput, LiveOrTest, moreInput, MoreFields, noMore, objectError, parsed, toFirstMistake } from '../parts/making'
import { about, Field, Input, others, Problems, Screen, Section, Select } from '../parts/parts'
import { TemplatePicker } from '../parts/template-picker'
import { useViewer } from '../parts/viewer'

type Source = 'template' | 'html' | 'url'

const pretty = (value: unknown) => (value == null ? '' : JSON.stringify(value, null, 2))

/** The form that makes one document. ?template= names a template to begin with, ?like= a submission. */
export function CreateSubmission() {
  const { mayWrite, testOnly } = useViewer()
  const [, go] = useLocation()
  const [params] = useSearchParams()
  const like = params.get('like') ?? ''
  const [source, setSource] = useState<Source>('template')
  const [templateId, setTemplateId] = useState(params.get('template') ?? '')
  const [version, setVersion] = useState('') // '': the latest; 'draft'; or a number
  const [html, setHtml] = useState('')
  const [url, setUrl] = useState('')
  const [data, setData] = useState('')
  const [metadata, setMetadata] = useState('')
  const [output, setOutput] = useState<OutputKind>('PDF')
  const [test, setTest] = useState(testOnly)
  const [more, setMore] = useState(noMore)
  const [problems, setProblems] = useState<Problem[]>([])
  const form = useRef<HTMLFormElement>(null)
  const [busy, setBusy] = useState(false)
  const keyFor = useKey()
  const prefilled = useRef('') // what was put into data by the page, not by a person

  const [{ data: chosen, fetching: choosing, error: unchosen }, choose] = useRead({ query: TemplateToFillDocument, variables: { id: templateId }, pause: !templateId })
  const template = chosen?.template?.id === templateId ? chosen.template : undefined
  const [{ data: repeated, fetching: repeating, error: unrepeated }, repeat] = useRead({ query: SubmissionToRepeatDocument, variables: { id: like }, pause: !like, requestPolicy: 'network-only' })

  const original = repeated?.submission
  // Both fill the form in before anybody can send it as it was.
  useLayoutEffect(() => {
    if (!original) return
    setSource(original.template ? 'template' : original.sourceUrl ? 'url' : 'html')
    setTemplateId(original.template?.id ?? '')
    setVersion(original.template ? (original.templateVersion ? String(original.templateVersion.number) : 'draft') : '')
    setHtml(original.sourceHtml ?? '')
    setUrl(original.sourceUrl ?? '')
    setData(pretty(original.data))
    setMetadata(Object.keys((original.metadata ?? {}) as object).length ? pretty(original.metadata) : '')
    setOutput(original.output)
    setTest(original.test)
  }, [original?.id])

  const draft = source === 'template' && (version === 'draft' || (!!template && !template.latestVersion))
  const content = template && (draft ? template.draft : template.latestVersion?.content)
  useLayoutEffect(() => {
    if (!content || like || source !== 'template') return
    const sample = pretty(content.sampleData)
    // What somebody typed stays.
    setData((now) => (now.trim() === '' || now === prefilled.current ? (prefilled.current = sample) : now))
  }, [content, source])

  // Without what it is filled in with, the form would be sent as it is: with no data.
  const missing =
    like && !original && (repeating || unrepeated)
      ? { name: 'submission', error: unrepeated, again: repeat }
      : source === 'template' && templateId && !template && (choosing || unchosen)
        ? { name: 'template', error: unchosen, again: choose }
        : undefined

  async function make() {
    const found: Problem[] = []
    const { value, error } = parsed(data)
    if (error) found.push({ message: error, code: '', path: ['input', 'data'] })
    const wrong = objectError(metadata)
    if (wrong) found.push({ message: wrong, code: '', path: ['input', 'metadata'] })
    if (source === 'template' && !templateId) found.push({ message: 'Choose a template.', code: '', path: ['input', 'templateId'] })
    setProblems(found)
    if (found.length) return toFirstMistake(form.current)
    const of: Partial<CreateSubmissionInput> =
      source === 'template' ? { templateId, draft, templateVersion: !draft && version ? Number(version) : undefined } : source === 'html' ? { html } : { url: url.trim() }
    const input = { ...of, data: value, metadata: parsed(metadata).value, output, test: draft ? undefined : test, ...moreInput(more) } as CreateSubmissionInput
    setBusy(true)
    const { payload, problems } = await send('createSubmission', CreateSubmissionDocument, { input: { ...input, idempotencyKey: keyFor(input) } })
    setBusy(false)
    setProblems(problems)
    if (problems.length) toFirstMistake(form.current)
    if (payload?.submission) go('/submissions/' + payload.submission.id)
  }

  const at = (name: string) => about(problems, 'input', name)
  const beside = ['templateId', 'templateVersion', 'html', 'url', 'data', 'metadata', 'expiresIn', 'password', 'presignedUpload'].map((name) => ['input', name])
  return (
    <Screen title="Create a submission" back={{ to: '/submissions', name: 'Submissions' }}>
      {original?.expired && <p>The data of {original.id} was deleted when it expired: only what is kept was filled in.</p>}
      <form
        ref={form}
        className="making"
        onSubmit={(e) => {
          e.preventDefault()
          void make()
        }}
      >
        <Section title="What it is made of">
          <div className="stack">
            <Choice
              label="Source"
              value={source}
              onChange={setSource}
              options={[
                ['template', 'Template'],
                ['html', 'HTML'],
                ['url', 'Address'],
              ]}
            />
            {source === 'template' && (
              <div className="pair">
                <TemplatePicker
                  label="Template"
                  value={templateId}
                  errors={at('templateId')}
                  onChange={(t) => {
                    setTemplateId(t?.id ?? '')
                    setVersion('')
                  }}
                  hint={!templateId && <Link to="/templates">See all templates</Link>}
                />
                {template && (
                  <Select
                    label="Version"
                    value={draft ? 'draft' : version}
                    onChange={setVersion}
                    errors={at('templateVersion')}
                    options={[
                      ...(template.latestVersion ? ([['', `Latest (${template.latestVersion.number})`]] as [string, string][]) : []),
                      ['draft', template.latestVersion ? 'Draft' : 'Draft (never published)'] as [string, string],
                      ...template.versions.nodes.map((v): [string, string] => [String(v.number), `Version ${v.number}`]),
                    ]}
                  />
                )}
              </div>
            )}
            {source === 'html' && (
              <Field label="HTML" errors={at('html')} hint="Liquid, as in a template: {{ name }} prints the name of the data.">
                {(given) => <textarea rows={10} required spellCheck={false} value={html} onInput={(e) => setHtml(e.currentTarget.value)} {...given} />}
              </Field>
            )}
            {source === 'url' && (
              <Input label="Address" type="url" inputMode="url" required placeholder="https://" value={url} onInput={(e) => setUrl(e.currentTarget.value)} errors={at('url')} hint="The page there is printed as a browser without cookies gets it." />
            )}
            {source !== 'url' && (
              <JsonInput
                label="Data"
                value={data}
                onChange={setData}
                errors={at('data')}
                rows={Math.min(24, Math.max(8, data.split('\n').length))}
                hint={
                  content?.variables.length ? (
                    <>
                      The template reads{' '}
                      {content.variables.slice(0, 12).map((name, i) => (
                        <span key={name}>
                          {i > 0 && ', '}
                          <code>{name}</code>
                        </span>
                      ))}
                      {content.variables.length > 12 && ' and more'}.
                    </>
                  ) : (
                    'JSON, an object as a rule.'
                  )
                }
              />
            )}
          </div>
        </Section>
        <div className="stack">
          <Section title="What it becomes">
            <div className="stack">
              <Select
                label="Output"
                value={output}
                onChange={setOutput}
                options={[
                  ['PDF', 'PDF'],
                  ['PNG', 'PNG image'],
                  ['JPEG', 'JPEG image'],
                  ['WEBP', 'WebP image'],
                ]}
              />
              <LiveOrTest value={test} onChange={setTest} why={draft ? 'A draft makes test documents.' : undefined} />
              <JsonInput label="Metadata" object value={metadata} onChange={setMetadata} errors={at('metadata')} rows={4} hint={'Yours, to find it by, and for keys of buckets: {"customer": "acme"}'} />
              <MoreFields value={more} onChange={setMore} problems={problems} byTemplate={source === 'template'} />
            </div>
          </Section>
        </div>
        <div className="wide stack">
          <Problems of={others(problems, ...beside)} />
          {missing?.error && <Problems of={problemsOf(missing.error).map((p) => ({ ...p, message: `The ${missing.name} could not be read: ${p.message}` }))} />}
          <div className="send">
            <button type="submit" className="primary" disabled={busy || !!missing || !mayWrite}>
              {busy ? 'Creating…' : missing && !missing.error ? `Reading the ${missing.name}…` : 'Create the submission'}
            </button>
            {missing?.error && (
              <button type="button" onClick={() => missing.again({ requestPolicy: 'network-only' })}>
                Read the {missing.name} again
              </button>
            )}
            {!mayWrite && <span className="quiet">{readOnly}</span>}
          </div>
        </div>
      </form>
    </Screen>
  )
}
