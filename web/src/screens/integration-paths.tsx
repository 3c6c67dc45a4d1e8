import { Fragment, useEffect, useRef, useState, type ReactNode, type RefObject } from 'react'
import { useRead } from '../api/read'
import { client } from '../api/client'
import { IntegrationChoicesDocument, PathPreviewDocument, type IntegrationChoicesQuery, type PathPreviewQuery, type PathTemplateKind } from '../api/generated'
import { Busy, Field } from '../parts/parts'
import './integration.css'

export const pathNames = ['submission', 'testSubmission', 'combinedSubmission', 'testCombinedSubmission', 'templateVersion'] as const
export type PathName = (typeof pathNames)[number]
export type Paths = Record<PathName, string>

/** What the API takes where nothing is said. */
export const defaultPaths: Paths = {
  submission: '{{ template_id }}/{{ submission_id }}.{{ extension }}',
  testSubmission: '',
  combinedSubmission: '',
  testCombinedSubmission: '',
  templateVersion: 'templates/{{ template_id }}/{{ template_version }}.html',
}

interface PathField {
  name: PathName
  label: string
  blank?: string
  /** What is offered to somebody who wants more than a blank. */
  suggested?: string
}
const groups: { kind: PathTemplateKind; title: string; of: string; example: string; fields: PathField[] }[] = [
  {
    kind: 'SUBMISSION',
    title: 'Submissions',
    of: 'submissions',
    example: 'submission',
    fields: [
      { name: 'submission', label: 'Path Template for Submissions' },
      { name: 'testSubmission', label: 'Path Template for Test Submissions', blank: 'Blank: the same as for live ones.', suggested: 'test/{{ template_id }}/{{ submission_id }}.{{ extension }}' },
    ],
  },
  {
    kind: 'COMBINED_SUBMISSION',
    title: 'Combined PDFs',
    of: 'combined submissions',
    example: 'combined submission',
    fields: [
      { name: 'combinedSubmission', label: 'Path Template for Combined PDFs', blank: 'Blank: combined PDFs are not copied.', suggested: 'combined/{{ combined_submission_id }}.pdf' },
      { name: 'testCombinedSubmission', label: 'Path Template for Test Combined PDFs', blank: 'Blank: the same as for live ones.', suggested: 'test/combined/{{ combined_submission_id }}.pdf' },
    ],
  },
  {
    kind: 'TEMPLATE_VERSION',
    title: 'Template versions',
    of: 'template versions',
    example: 'template version',
    fields: [{ name: 'templateVersion', label: 'Path Template for Template Versions', blank: 'Blank: versions are not copied when they are published.', suggested: defaultPaths.templateVersion }],
  },
]

type Subjects = Record<PathTemplateKind, { id: string; name: string }[]>

const when = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', hour: 'numeric', minute: 'numeric' })
const documentName = (d: { id: string; test: boolean; createdAt: string }, of: string) => `${when.format(new Date(d.createdAt))}, ${d.test ? 'test, ' : ''}${of}, …${d.id.slice(-4)}`

function subjectsOf(data: IntegrationChoicesQuery | undefined): Subjects {
  return {
    SUBMISSION: (data?.submissions.nodes ?? []).map((s) => ({ id: s.id, name: documentName(s, s.template?.name ?? 'HTML or URL') })),
    COMBINED_SUBMISSION: (data?.combinedSubmissions.nodes ?? []).map((c) => ({ id: c.id, name: documentName(c, 'combined') })),
    TEMPLATE_VERSION: (data?.templates.nodes ?? []).flatMap((t) => (t.latestVersion ? [{ id: t.latestVersion.id, name: `${t.name}, version ${t.latestVersion.number}` }] : [])),
  }
}

type Preview = PathPreviewQuery['pathPreview']
const pause = 200

/** The key that a path template gives, a moment after the last stroke. What was found last stays until then. */
function usePreview(pathTemplate: string, kind: PathTemplateKind, subjectId: string, ready: boolean) {
  const [found, setFound] = useState<{ of: string; preview?: Preview | undefined; unreachable?: boolean }>()
  useEffect(() => {
    if (!ready) return
    let over = false
    const timer = setTimeout(async () => {
      const { data } = await client.query(PathPreviewDocument, { input: { pathTemplate, kind, subjectId: subjectId || null } }, { requestPolicy: 'network-only' }).toPromise()
      if (!over) setFound((last) => ({ of: pathTemplate, preview: data?.pathPreview ?? last?.preview, unreachable: !data }))
    }, pause)
    return () => {
      over = true
      clearTimeout(timer)
    }
  }, [pathTemplate, kind, subjectId, ready])
  return found
}

/**
 * The path templates of an S3 integration: each with the key that it gives for a real document,
 * beside the variables of the one that is being written.
 */
export function PathTemplates({
  value,
  bucket,
  liveOnly,
  onChange,
  errors,
}: {
  value: Paths
  bucket: string
  /** The integration leaves test documents alone: their paths are of no use. */
  liveOnly: boolean
  onChange: (name: PathName, path: string) => void
  errors: (name: PathName) => string[]
}) {
  const [{ data, error }] = useRead({ query: IntegrationChoicesDocument })
  const subjects = subjectsOf(data)
  const [chosen, setChosen] = useState<Partial<Record<PathTemplateKind, string>>>({})
  const subjectOf = (kind: PathTemplateKind) => chosen[kind] ?? subjects[kind][0]?.id ?? ''
  const [active, setActive] = useState<PathName>('submission')
  const fields = useRef<Partial<Record<PathName, HTMLInputElement>>>({})
  const activeGroup = groups.find((g) => g.fields.some((f) => f.name === active))!
  const ready = Boolean(data || error)

  /** Puts a variable where the cursor is, and the cursor behind it. */
  function insert(variable: string) {
    const field = fields.current[active]
    if (!field) return
    const open = variable.endsWith('<key>') // the rest of its name is to be typed
    const text = open ? `{{ ${variable.slice(0, -'<key>'.length)} }}` : `{{ ${variable} }}`
    const [from, to] = [field.selectionStart ?? field.value.length, field.selectionEnd ?? field.value.length]
    onChange(active, field.value.slice(0, from) + text + field.value.slice(to))
    field.focus()
    const cursor = from + text.length - (open ? 3 : 0)
    requestAnimationFrame(() => field.setSelectionRange(cursor, cursor))
  }

  return (
    <div className="paths">
      {groups.map((group) => (
        <Fragment key={group.kind}>
          <fieldset className={group === activeGroup ? 'active' : ''}>
            <legend>{group.title}</legend>
            <div className="stack">
              {group.fields.map((f) => (
                <PathInput
                  key={f.name}
                  field={f}
                  kind={group.kind}
                  subjectId={subjectOf(group.kind)}
                  ready={ready}
                  bucket={bucket}
                  unused={liveOnly && f.name.startsWith('test')}
                  value={value[f.name]}
                  errors={errors(f.name)}
                  held={(element) => void (fields.current[f.name] = element ?? undefined)}
                  onFocus={() => setActive(f.name)}
                  onChange={(path) => onChange(f.name, path)}
                />
              ))}
            </div>
          </fieldset>
          {group === activeGroup && (
            <Variables
              kind={group.kind}
              title={`Variables of ${group.of}`}
              subjects={subjects[group.kind]}
              subjectId={subjectOf(group.kind)}
              ready={ready}
              example={group.example}
              onSubject={(id) => setChosen({ ...chosen, [group.kind]: id })}
              onInsert={insert}
            />
          )}
        </Fragment>
      ))}
    </div>
  )
}

function PathInput({
  field,
  kind,
  subjectId,
  ready,
  bucket,
  unused,
  value,
  errors,
  held,
  onFocus,
  onChange,
}: {
  field: PathField
  kind: PathTemplateKind
  subjectId: string
  ready: boolean
  bucket: string
  unused: boolean
  value: string
  errors: string[]
  held: (element: HTMLInputElement | null) => void
  onFocus: () => void
  onChange: (path: string) => void
}) {
  const blank = value.trim() === ''
  const found = usePreview(value, kind, subjectId, ready && !blank)
  const { preview } = found ?? {}
  const late = found?.of !== value
  // A place in the template means that the template itself is at fault, whatever the document.
  const wrong = !blank && preview?.failure?.line != null
  return (
    <Field
      label={field.label}
      errors={wrong ? [] : errors}
      hint={
        <div aria-live="polite" className={late && !blank ? 'preview late' : 'preview'}>
          {unused && 'Of no use while Only Live is chosen. '}
          {blank ? (
            <>
              {field.blank ?? 'A path is needed: without one no submission could be copied.'}{' '}
              {field.suggested && (
                <button type="button" className="plain" onClick={() => onChange(field.suggested!)} aria-label={`Suggest one: ${field.label}`}>
                  Suggest one
                </button>
              )}
            </>
          ) : !preview ? (
            found?.unreachable ? (
              'The key cannot be shown: the server does not answer.'
            ) : (
              '…'
            )
          ) : (
            <PreviewLines of={preview} bucket={bucket} wrong={wrong} />
          )}
        </div>
      }
    >
      {(given) => (
        <input
          {...given}
          ref={held as unknown as RefObject<HTMLInputElement>}
          type="text"
          className="code"
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          aria-invalid={wrong || given['aria-invalid']}
          value={value}
          onFocus={onFocus}
          onInput={(e) => onChange(e.currentTarget.value)}
        />
      )}
    </Field>
  )
}

function PreviewLines({ of, bucket, wrong }: { of: Preview; bucket: string; wrong: boolean }): ReactNode {
  return (
    <>
      {of.key !== null && (
        <p className="key">
          <span aria-hidden="true">→</span> <span className="hidden">gives the key</span>
          <code>
            {bucket && <span className="quiet">{bucket}/</span>}
            {of.key}
          </code>
        </p>
      )}
      {of.failure && (
        <p className="wrong">
          <span aria-hidden="true">✕</span> {!wrong && 'For this document: '}
          {of.failure.message}
          {of.failure.line != null && ` (line ${of.failure.line}, column ${of.failure.column})`}
        </p>
      )}
      {of.warnings.map((warning) => (
        <p className="warns" key={warning}>
          <span aria-hidden="true">⚠</span> {warning}
        </p>
      ))}
    </>
  )
}

/** All that a kind of path template may use, with the values of a real document. */
function Variables({
  kind,
  title,
  subjects,
  subjectId,
  ready,
  example,
  onSubject,
  onInsert,
}: {
  kind: PathTemplateKind
  title: string
  subjects: { id: string; name: string }[]
  subjectId: string
  ready: boolean
  example: string
  onSubject: (id: string) => void
  onInsert: (variable: string) => void
}) {
  // Any template has the same variables.
  const variables = usePreview('-', kind, subjectId, ready)?.preview?.variables
  const [wide] = useState(() => matchMedia('(min-width: 900px)').matches)
  return (
    <details className="variables" open={wide}>
      <summary>{title}</summary>
      <div className="stack">
        <Field label="Values of" hint={subjects.length ? undefined : `These are sample values: there is no ${example} yet.`}>
          {(given) => (
            <select {...given} value={subjectId} onChange={(e) => onSubject(e.currentTarget.value)}>
              {subjects.map((s) => (
                <option key={s.id} value={s.id}>
                  {s.name}
                </option>
              ))}
              <option value="">Sample values</option>
            </select>
          )}
        </Field>
        <p className="hint">Choose one to insert it where the cursor was in the field.</p>
        {!variables ? (
          <Busy />
        ) : (
          <ul>
            {variables.map((v) => (
              <li key={v.name}>
                <button type="button" onClick={() => onInsert(v.name)} title={`Insert ${v.name} at the cursor`}>
                  <code>{v.name}</code>
                  <span className="value" title={v.value}>
                    {v.value}
                  </span>
                  <span className="hint">{v.description}</span>
                </button>
              </li>
            ))}
          </ul>
        )}
      </div>
    </details>
  )
}
