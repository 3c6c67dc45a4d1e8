import { useEffect, useRef, useState, type DragEvent } from 'react'
import { useRead } from '../api/read'
import { useLocation } from 'wouter'
import { problemsOf, send, type Problem } from '../api/client'
import { put, useKey } from '../api/files'
import { CreateCombinedSubmissionDocument, CreateUploadDocument, DocumentByIdDocument, RecentDocumentsDocument, VersionsToAddDocument, type CombinedSourceInput, type CreateCombinedSubmissionInput, type PickableFragment } from '../api/generated'
import { Announce } from '../parts/announce'
import { readOnly } from '../parts/create-link'
import { Metadata, sizeOf, versionOf, whatIs } from '../parts/documents-table'
import { JsonInput, LiveOrTest, moreInput, MoreFields, noMore, objectError, parsed, toFirstMistake } from '../parts/making'
import { about, Busy, bytes, count, Dialog, Empty, Input, others, Problems, Screen, Section, Select, State, Tag, Time } from '../parts/parts'
import { TemplatePicker, type Picked } from '../parts/template-picker'
import { useViewer } from '../parts/viewer'

const largestUpload = 128 * 1024 * 1024

/** One source, as it is shown and as it is sent. */
interface Source {
  key: number
  kind: string
  name: string
  detail: string
  test?: boolean
  /** How it is named to the API; undefined while a file is on its way. */
  input?: CombinedSourceInput
  upload?: { file: File; sent: number; error?: string; abort: AbortController }
}

/** The form that merges several PDFs. */
export function CreateCombinedSubmission() {
  const { mayWrite, testOnly } = useViewer()
  const [, go] = useLocation()
  const [sources, setSources] = useState<Source[]>([])
  const [asking, setAsking] = useState<'documents' | 'template' | 'url'>()
  const [test, setTest] = useState(testOnly)
  const [metadata, setMetadata] = useState('')
  const [more, setMore] = useState(noMore)
  const [problems, setProblems] = useState<Problem[]>([])
  const form = useRef<HTMLFormElement>(null)
  const [busy, setBusy] = useState(false)
  const [said, setSaid] = useState('')
  const files = useRef<HTMLInputElement>(null)
  const list = useRef<HTMLOListElement>(null)
  const next = useRef(0)
  const keyFor = useKey()
  const uploads = useRef(sources)
  uploads.current = sources
  useEffect(() => () => uploads.current.forEach((s) => s.upload?.abort.abort()), [])

  const add = (...found: Omit<Source, 'key'>[]) => {
    const keyed = found.map((source) => ({ ...source, key: next.current++ }))
    setSources((before) => [...before, ...keyed])
    setProblems([])
    setSaid(found.length === 1 ? `${found[0]!.name} added` : `${found.length} sources added`)
    setAsking(undefined)
    return keyed
  }
  const change = (key: number, to: (source: Source) => Source) => setSources((now) => now.map((s) => (s.key === key ? to(s) : s)))

  async function upload(source: Source) {
    const { file, abort } = source.upload!
    const fail = (error: string) => change(source.key, (s) => ({ ...s, upload: { ...s.upload!, error } }))
    change(source.key, (s) => ({ ...s, upload: { file, abort, sent: 0 } }))
    const { payload, problems } = await send('createUpload', CreateUploadDocument, { input: { filename: file.name.slice(-255), byteSize: file.size } })
    if (!payload?.upload?.request) return fail(problems[0]?.message ?? 'The server gave no place for the file. Try again.')
    const { id, request } = payload.upload
    const error = await put(file, request, (sent) => change(source.key, (s) => ({ ...s, upload: { ...s.upload!, sent } })), abort.signal)
    if (error) return fail(error)
    change(source.key, (s) => ({ ...s, upload: undefined, input: { uploadId: id } }))
    setSaid(`${file.name} is uploaded`)
  }
  function addFiles(found: Iterable<File>) {
    const chosen = [...found]
    if (!chosen.length) return
    const keyed = add(
      ...chosen.map((file) => ({
        kind: 'File',
        name: file.name,
        detail: bytes(file.size),
        upload: {
          file,
          sent: 0,
          abort: new AbortController(),
          error: !file.size ? 'The file is empty.' : file.size > largestUpload ? 'Files may have 128 MiB at most.' : undefined,
        },
      })),
    )
    for (const source of keyed) if (!source.upload!.error) void upload(source)
  }

  function move(from: number, to: number, focus?: 'up' | 'down') {
    if (to < 0 || to >= sources.length || from === to) return
    const moved = [...sources]
    const [source] = moved.splice(from, 1)
    moved.splice(to, 0, source!)
    setSources(moved)
    setProblems([])
    setSaid(`${source!.name} is now ${to + 1} of ${moved.length}`)
    // The focus stays with what was moved; at an end its button is no more, so it takes the other one.
    if (focus)
      requestAnimationFrame(() => {
        const buttons = list.current?.children[to]?.querySelectorAll<HTMLButtonElement>('button[data-move]')
        const button = [...(buttons ?? [])].find((b) => b.dataset.move === focus && !b.disabled) ?? [...(buttons ?? [])].find((b) => !b.disabled)
        button?.focus()
      })
  }
  function remove(i: number) {
    const source = sources[i]!
    source.upload?.abort.abort()
    setSources(sources.filter((_, j) => j !== i))
    setProblems([])
    setSaid(`${source.name} removed`)
    requestAnimationFrame(() => {
      const rows = list.current?.children
      const row = rows?.[Math.min(i, rows.length - 1)]
      ;(row?.querySelector<HTMLElement>('button[data-remove]') ?? document.getElementById('add-documents'))?.focus()
    })
  }

  const [dragged, setDragged] = useState<number>()
  const [over, setOver] = useState<number>()
  const drag = {
    over: (e: DragEvent, i: number) => {
      e.preventDefault()
      setOver(i)
    },
    drop: (e: DragEvent, i: number) => {
      e.preventDefault()
      if (dragged !== undefined) move(dragged, i)
      else addFiles(e.dataTransfer.files)
      setOver(undefined)
      setDragged(undefined)
    },
  }

  async function make() {
    const found: Problem[] = []
    if (!sources.length) found.push({ message: 'Add at least one source.', code: '', path: [] })
    if (sources.some((s) => s.upload?.error)) found.push({ message: 'A file was not uploaded: try it again, or remove it.', code: '', path: [] })
    const wrong = objectError(metadata)
    if (wrong) found.push({ message: wrong, code: '', path: ['input', 'metadata'] })
    setProblems(found)
    if (found.length) return toFirstMistake(form.current)
    const input = { sources: sources.map((s) => s.input!), metadata: parsed(metadata).value, test: anyTest ? true : test, ...moreInput(more) } as CreateCombinedSubmissionInput
    setBusy(true)
    const { payload, problems } = await send('createCombinedSubmission', CreateCombinedSubmissionDocument, { input: { ...input, idempotencyKey: keyFor(input) } })
    setBusy(false)
    setProblems(problems)
    if (problems.length) toFirstMistake(form.current)
    if (payload?.combinedSubmission) go('/combined-submissions/' + payload.combinedSubmission.id)
  }

  const anyTest = sources.some((s) => s.test)
  const uploading = sources.filter((s) => s.upload && !s.upload.error).length
  const ofSource = (i: number) => about(problems, 'input', 'sources', String(i))
  const beside = [['input', 'metadata'], ['input', 'expiresIn'], ['input', 'password'], ['input', 'presignedUpload'], ...sources.map((_, i) => ['input', 'sources', String(i)])]
  return (
    <Screen title="Create a combined submission" back={{ to: '/combined-submissions', name: 'Combined submissions' }}>
      <Announce text={said} />
      <form
        ref={form}
        className="making"
        onSubmit={(e) => {
          e.preventDefault()
          void make()
        }}
      >
        <Section title="Sources">
          <div
            className="stack"
            onDragOver={(e) => e.preventDefault()}
            onDrop={(e) => {
              e.preventDefault()
              if (dragged === undefined) addFiles(e.dataTransfer.files)
            }}
          >
            <div className="row">
              <button type="button" id="add-documents" onClick={() => setAsking('documents')}>
                Add documents
              </button>
              <button type="button" onClick={() => files.current?.click()}>
                Upload PDFs
              </button>
              <button type="button" onClick={() => setAsking('template')}>
                Add a template
              </button>
              <button type="button" onClick={() => setAsking('url')}>
                Add an address
              </button>
              <input
                ref={files}
                type="file"
                multiple
                hidden
                accept="application/pdf,.pdf"
                aria-label="PDF files"
                onChange={(e) => {
                  addFiles(e.currentTarget.files ?? [])
                  e.currentTarget.value = ''
                }}
              />
            </div>
            {sources.length ? (
              <ol className="order" ref={list}>
                {sources.map((source, i) => (
                  <li
                    key={source.key}
                    draggable
                    className={dragged === i ? 'dragged' : over === i && dragged !== undefined ? (dragged < i ? 'over-after' : 'over') : undefined}
                    onDragStart={(e) => {
                      e.dataTransfer.effectAllowed = 'move'
                      e.dataTransfer.setData('text/plain', source.name)
                      setDragged(i)
                    }}
                    onDragEnd={() => {
                      setDragged(undefined)
                      setOver(undefined)
                    }}
                    onDragOver={(e) => drag.over(e, i)}
                    onDrop={(e) => {
                      e.stopPropagation()
                      drag.drop(e, i)
                    }}
                  >
                    <span className="grip" aria-hidden="true">
                      ⠿ <span>{i + 1}</span>
                    </span>
                    <span className="lines">
                      <span>
                        <strong>{source.name}</strong> <span className="quiet">{source.kind}</span> {source.test && <Tag>Test</Tag>}
                      </span>
                      <span className="hint">
                        {source.detail}
                        {source.upload && !source.upload.error && `, ${Math.floor((100 * source.upload.sent) / source.upload.file.size)} % uploaded`}
                      </span>
                    </span>
                    <span className="row">
                      <button type="button" className="small" data-move="up" disabled={i === 0} aria-label={`Move ${source.name} up`} onClick={() => move(i, i - 1, 'up')}>
                        ↑
                      </button>
                      <button type="button" className="small" data-move="down" disabled={i === sources.length - 1} aria-label={`Move ${source.name} down`} onClick={() => move(i, i + 1, 'down')}>
                        ↓
                      </button>
                      <button type="button" className="small" data-remove aria-label={`Remove ${source.name}`} onClick={() => remove(i)}>
                        ✕
                      </button>
                    </span>
                    {source.upload && !source.upload.error && <progress max={source.upload.file.size} value={source.upload.sent} aria-label={`Upload of ${source.name}`} />}
                    {source.upload?.error && (
                      <div className="problems row" role="alert">
                        <span>{source.upload.error}</span>
                        {source.upload.file.size > 0 && source.upload.file.size <= largestUpload && (
                          <button type="button" className="small" onClick={() => void upload(source)}>
                            Try again
                          </button>
                        )}
                      </div>
                    )}
                    {ofSource(i).length > 0 && (
                      <div className="errors" role="alert">
                        {ofSource(i).map((message) => (
                          <p key={message}>{message}</p>
                        ))}
                      </div>
                    )}
                  </li>
                ))}
              </ol>
            ) : (
              <Empty title="Nothing to merge yet">
                <p>Add documents, files, a template's cover sheet or an address. Files can be dropped here.</p>
              </Empty>
            )}
            {sources.length > 1 && <p className="hint">Their pages come in this order. Drag them, or use the arrows.</p>}
          </div>
        </Section>
        <Section title="What it becomes">
          <div className="stack">
            <LiveOrTest value={test} onChange={setTest} why={anyTest ? 'A source is a test document, so this is one too.' : undefined} />
            <JsonInput label="Metadata" object value={metadata} onChange={setMetadata} errors={about(problems, 'input', 'metadata')} rows={4} hint={'Yours, to find it by, and for keys of buckets: {"customer": "acme"}'} />
            <MoreFields value={more} onChange={setMore} problems={problems} />
          </div>
        </Section>
        <div className="wide stack">
          <Problems of={others(problems, ...beside)} />
          <div className="send">
            <button type="submit" className="primary" disabled={busy || !mayWrite || uploading > 0}>
              {busy ? 'Creating…' : sources.length > 1 ? `Combine ${count(sources.length, 'source')}` : 'Create the combined submission'}
            </button>
            <span className="quiet">{!mayWrite ? readOnly : uploading > 0 ? `${count(uploading, 'file is', 'files are')} on the way.` : ''}</span>
          </div>
        </div>
      </form>
      {asking === 'documents' && <PickDocuments onPick={(picked) => add(...picked.map(ofDocument))} onClose={() => setAsking(undefined)} />}
      {asking === 'template' && <PickVersion onPick={add} onClose={() => setAsking(undefined)} />}
      {asking === 'url' && <PickAddress onPick={add} onClose={() => setAsking(undefined)} />}
    </Screen>
  )
}

type Pickable = PickableFragment & { sourceUrl?: string | null }

const ofDocument = (d: Pickable): Omit<Source, 'key'> => ({
  kind: d.__typename === 'Submission' ? 'Submission' : 'Combined submission',
  name: d.__typename === 'Submission' ? [whatIs(d), versionOf(d)].filter(Boolean).join(', ') : d.id,
  detail: [d.__typename === 'Submission' && d.id, d.file ? sizeOf(d.file) : 'still being made'].filter(Boolean).join(', '),
  test: d.test,
  input: d.__typename === 'Submission' ? { submissionId: d.id } : { combinedSubmissionId: d.id },
})

// Why a document cannot be a source; undefined where it can.
function unfit(d: Pickable): string | undefined {
  if (d.expired) return 'expired'
  if (d.state === 'FAILED' || d.state === 'INVALID_DATA') return 'failed'
  if (d.file?.passwordProtected) return 'has a password'
  if (d.__typename === 'Submission' && d.output !== 'PDF') return 'no PDF'
}

/** Submissions and combined submissions, several at a time: recent ones, or one by its id. */
function PickDocuments({ onPick, onClose }: { onPick: (picked: Pickable[]) => void; onClose: () => void }) {
  const [template, setTemplate] = useState<Picked>()
  const [search, setSearch] = useState('')
  const [picked, setPicked] = useState<Pickable[]>([])
  const [{ data, fetching, error }] = useRead({ query: RecentDocumentsDocument, variables: { test: null, templateId: template?.id ?? null }, requestPolicy: 'network-only' })
  const id = search.trim().match(/(sub|com)_[0-9A-Za-z]{18}/)?.[0] // also within an address that was pasted
  const [{ data: byId, fetching: looking }] = useRead({ query: DocumentByIdDocument, variables: { id: id ?? '' }, pause: !id })

  const recent: Pickable[] = [...(data?.submissions.nodes ?? []), ...(template ? [] : (data?.combinedSubmissions.nodes ?? []))].sort((a, b) => b.createdAt.localeCompare(a.createdAt))
  const word = search.trim().toLowerCase()
  const one: Pickable | undefined = byId?.node && 'state' in byId.node ? byId.node : undefined
  const found: Pickable[] = id ? (one ? [one] : []) : recent.filter((d) => !word || `${d.id} ${whatIs(d)} ${JSON.stringify(d.metadata)}`.toLowerCase().includes(word))
  // What is chosen stays in sight, whatever is searched for next.
  const shown = [...picked.filter((d) => !found.some((f) => f.id === d.id)), ...found]
  const busy = fetching || (!!id && looking)
  return (
    <Dialog title="Add documents" onClose={onClose} wide>
      <form
        onSubmit={(e) => {
          e.preventDefault()
          if (picked.length) onPick(picked)
        }}
      >
        <div className="pair">
          <Input label="Search" type="search" autoFocus value={search} onInput={(e) => setSearch(e.currentTarget.value)} placeholder="Metadata, or an id" hint="Among the recent ones; an id finds any." />
          <TemplatePicker label="Template" any="Any template" value={template?.id ?? ''} onChange={setTemplate} />
        </div>
        <Problems of={problemsOf(error)} />
        {shown.length ? (
          <ul className="pick">
            {shown.map((d) => {
              const why = unfit(d)
              const place = picked.findIndex((p) => p.id === d.id)
              return (
                <li key={d.id}>
                  <label>
                    <input type="checkbox" checked={place >= 0} disabled={!!why} onChange={() => setPicked(place >= 0 ? picked.filter((p) => p.id !== d.id) : [...picked, d])} />
                    <span className="lines">
                      <span>
                        <strong>{whatIs(d)}</strong> <span className="quiet">{versionOf(d)}</span> {d.test && <Tag>Test</Tag>} {why && <Tag kind="bad">{why}</Tag>}
                      </span>
                      <code className="quiet">{d.id}</code>
                      <span className="hint">
                        <Time at={d.createdAt} />
                        {d.file && `, ${sizeOf(d.file)}`}
                      </span>
                      <Metadata metadata={d.metadata} />
                    </span>
                    <State of={d.state} expired={d.expired} />
                  </label>
                </li>
              )
            })}
          </ul>
        ) : busy ? (
          <Busy />
        ) : (
          <Empty title={word ? 'Nothing found' : 'There are no documents yet'}>{word && !id && <p>Only recent ones are searched. Paste an id to find an older one.</p>}</Empty>
        )}
        <div className="row end">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="primary" disabled={!picked.length}>
            {picked.length ? `Add ${count(picked.length, 'document')}` : 'Add'}
          </button>
        </div>
      </form>
    </Dialog>
  )
}

/** A version of a template, rendered with its sample data: a cover sheet, terms. */
function PickVersion({ onPick, onClose }: { onPick: (source: Omit<Source, 'key'>) => void; onClose: () => void }) {
  const [template, setTemplate] = useState<Picked>()
  const [version, setVersion] = useState('')
  const [{ data, fetching }] = useRead({ query: VersionsToAddDocument, variables: { id: template?.id ?? '' }, pause: !template })
  const versions = data?.template && data.template.id === template?.id ? data.template.versions.nodes : []
  const never = !!template && !fetching && data?.template?.id === template.id && !versions.length
  return (
    <Dialog title="Add a template" onClose={onClose}>
      <form
        onSubmit={(e) => {
          e.preventDefault()
          const number = version ? Number(version) : undefined
          if (template && versions.length) onPick({ kind: 'Template', name: template.name, detail: `${number ? `version ${number}` : 'latest version'}, with its sample data`, input: { template: { id: template.id, version: number } } })
        }}
      >
        <p>A version is rendered with its sample data for this place: a cover sheet, terms. It sees the metadata of the combined submission.</p>
        <TemplatePicker
          label="Template"
          value={template?.id ?? ''}
          onChange={(t) => {
            setTemplate(t)
            setVersion('')
          }}
          errors={never ? ['This template was never published: publish it first.'] : []}
        />
        {versions.length > 0 && <Select label="Version" value={version} onChange={setVersion} options={[['', `Latest (${versions[0]!.number})`], ...versions.map((v): [string, string] => [String(v.number), `Version ${v.number}`])]} />}
        <div className="row end">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="primary" disabled={!versions.length}>
            Add
          </button>
        </div>
      </form>
    </Dialog>
  )
}

/** A PDF that Platen fetches. */
function PickAddress({ onPick, onClose }: { onPick: (source: Omit<Source, 'key'>) => void; onClose: () => void }) {
  const [url, setUrl] = useState('')
  return (
    <Dialog title="Add an address" onClose={onClose}>
      <form
        onSubmit={(e) => {
          e.preventDefault()
          const { host, pathname } = new URL(url.trim())
          onPick({ kind: 'Address', name: pathname.split('/').filter(Boolean).at(-1) ?? host, detail: url.trim(), input: { url: url.trim() } })
        }}
      >
        <Input label="Address of a PDF" type="url" inputMode="url" required autoFocus pattern="https?://.+" placeholder="https://" value={url} onInput={(e) => setUrl(e.currentTarget.value)} hint="It is fetched when the other sources are there, as a stranger would: without being signed in." />
        <div className="row end">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="primary">
            Add
          </button>
        </div>
      </form>
    </Dialog>
  )
}
