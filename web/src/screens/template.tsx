import { Tabs } from 'radix-ui'
import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { useRead } from '../api/read'
import { Link, useLocation, useParams } from 'wouter'
import { client, problemsOf, send, type Problem } from '../api/client'
import { useConnection } from '../api/feed'
import { CreateTestDocumentDocument, EditedTemplateDocument, PublishTemplateDocument, UpdateTemplateDocument, type TemplatePartsFragment } from '../api/generated'
import { Editor as Code, type Jump } from '../parts/editor'
import { Busy, Problems, Screen, Tag, Time } from '../parts/parts'
import { useViewer } from '../parts/viewer'
import { changedParts, contentOf, draftOf, merged, missingFrom, partNames, parts, placed, sameContent, warningsOf, type Draft, type Mistake, type Part, type Source } from './template-content'
import { readJson } from './template-json'
import { PageForm } from './template-page'
import { Preview, useOutput, usePreview } from './template-preview'
import { Settings } from './template-settings'
import { Versions } from './template-versions'
import './template.css'

/** A template: what it is made of, beside what becomes of it. */
export default function Template() {
  const { id = '' } = useParams()
  const [{ data, error }, again] = useRead({ query: EditedTemplateDocument, variables: { id } })
  const { turn } = useConnection()
  const seen = useRef(turn)
  useEffect(() => {
    const look = () => document.visibilityState === 'visible' && again({ requestPolicy: 'network-only' })
    if (turn !== seen.current) look()
    seen.current = turn
    // Templates have no feed: whoever comes back to this window learns what others did meanwhile.
    document.addEventListener('visibilitychange', look)
    return () => document.removeEventListener('visibilitychange', look)
  }, [again, turn])
  // A read that fails has no data: what was there before stays, and with it what is being typed.
  const known = useRef(data?.template)
  if (data) known.current = data.template
  if (known.current?.id === id) return <Editing key={id} read={known.current} />
  return (
    <Screen title="Template" back={{ to: '/templates', name: 'Templates' }}>
      <Problems of={problemsOf(error)} />
      {data ? (
        <p>
          There is no template with the id <code>{id}</code>. <Link to="/templates">Look at those that there are.</Link>
        </p>
      ) : error ? (
        <p>
          <button type="button" onClick={() => again({ requestPolicy: 'network-only' })}>
            Try again
          </button>
        </p>
      ) : (
        <Busy />
      )}
    </Screen>
  )
}

interface Kept {
  draft: Draft
  saved: Draft
}
const keep = (id: string) => `platen.draft.${id}`

/** What was typed here before and is not saved: it outlives a reload, a visit to another screen and the session. */
function kept(id: string): Kept | undefined {
  try {
    const text = sessionStorage.getItem(keep(id))
    return text ? (JSON.parse(text) as Kept) : undefined
  } catch {
    return undefined
  }
}

// base is the template as the server has it, saved its draft as texts, draft what is typed, and
// theirs what was saved elsewhere and cannot be put together with that.
interface State {
  base: TemplatePartsFragment
  saved: Draft
  draft: Draft
  theirs: TemplatePartsFragment | undefined
}

/** Takes over what was read anew, where nothing that is typed is lost by it. */
function take(state: State, read: TemplatePartsFragment): State {
  const { base, saved, draft } = state
  if (read.updatedAt < base.updatedAt) return state
  const content = draftOf(read.draft)
  if (sameContent(content, saved)) return (read.latestVersion?.number ?? 0) < (base.latestVersion?.number ?? 0) ? state : { ...state, base: read }
  const both = merged(draft, saved, content)
  return both ? { base: read, saved: content, draft: both, theirs: undefined } : { ...state, theirs: read }
}

interface Notice {
  text: string
  undo?: { name: string; by: () => void }
}

function Editing({ read }: { read: TemplatePartsFragment }) {
  const { mayWrite } = useViewer()
  const [, navigate] = useLocation()
  const { id } = read

  const [state, set] = useState((): State => {
    const mine = kept(id)
    const saved = draftOf(read.draft)
    return mine ? take({ base: read, ...mine, theirs: undefined }, read) : { base: read, saved, draft: saved, theirs: undefined }
  })
  const { base, saved, draft, theirs } = state
  const unsaved = useMemo(() => changedParts(draft, saved).length > 0, [draft, saved])
  const [notice, setNotice] = useState<Notice | undefined>(() => (unsaved ? { text: 'Your unsaved changes are still here.', undo: { name: 'Discard them', by: () => revert() } } : undefined))
  const [problems, setProblems] = useState<Problem[]>([])
  const [refused, setRefused] = useState<Mistake[]>([])
  const [busy, setBusy] = useState('')
  const [dialog, setDialog] = useState<'settings' | 'versions'>()
  const [part, setPart] = useState<Part>('html')
  const [jump, setJump] = useState<{ part: Part; at: Jump }>()

  const latest = useRef({ ...state, unsaved })
  latest.current = { ...state, unsaved }

  const edit = useCallback((change: Partial<Draft>) => {
    set((state) => ({ ...state, draft: { ...state.draft, ...change } }))
    setRefused([])
    setNotice(undefined)
  }, [])
  const revert = () => {
    set((state) => {
      const there = state.theirs ?? state.base
      const content = draftOf(there.draft)
      return { base: there, saved: content, draft: content, theirs: undefined }
    })
    setNotice(undefined)
  }

  const takeOver = (read: TemplatePartsFragment) => {
    const next = take(latest.current, read)
    if (next.saved !== latest.current.saved) setNotice({ text: 'What was saved elsewhere is in the draft now.' })
    set((state) => take(state, read))
    return next
  }
  useEffect(() => {
    if (read !== base) takeOver(read)
  }, [read])

  // Kept a moment after the typing, and when the screen goes.
  useEffect(() => {
    let stored: Draft | undefined
    const store = () => {
      const { draft, saved, unsaved } = latest.current
      if (unsaved && draft === stored) return
      stored = unsaved ? draft : undefined
      try {
        if (unsaved) sessionStorage.setItem(keep(id), JSON.stringify({ draft, saved } satisfies Kept))
        else sessionStorage.removeItem(keep(id))
      } catch {
        // Too large to be kept: then leaving is warned of all the same.
      }
    }
    const timer = setInterval(store, 1000)
    const warn = (e: BeforeUnloadEvent) => {
      store()
      if (latest.current.unsaved) e.preventDefault()
    }
    addEventListener('beforeunload', warn)
    return () => {
      clearInterval(timer)
      removeEventListener('beforeunload', warn)
      store()
    }
  }, [id])

  const local = useMemo(() => contentOf(draft).mistakes, [draft])
  const warnings = useMemo(() => warningsOf(draft), [draft])
  const [output, setOutput] = useOutput()
  const preview = usePreview(id, draft, output, mayWrite)
  const mistakes = useMemo(() => {
    const all = [...local, ...refused, ...preview.mistakes]
    return all.filter((m, i) => all.findIndex((o) => o.part === m.part && o.field === m.field && o.line === m.line && o.message === m.message) === i)
  }, [local, refused, preview.mistakes])
  const marks = useMemo(() => Object.fromEntries(parts.map((each) => [each, [...mistakes, ...warnings].filter((m) => m.part === each)])) as Record<Part, Mistake[]>, [mistakes, warnings])

  const go = (mistake: Mistake) => {
    if (!mistake.part) return
    setPart(mistake.part)
    setJump({ part: mistake.part, at: { line: mistake.line, column: mistake.column } })
    if (mistake.part === 'page') requestAnimationFrame(() => document.querySelector<HTMLElement>(`.page-form [data-field="${mistake.field}"]`)?.focus())
  }
  const refuse = (found: Problem[], what: string) => {
    const { mistakes, others } = placed(found)
    setRefused(mistakes)
    setProblems(others)
    if (mistakes.length) {
      setNotice({ text: `${what}: ${mistakes.length === 1 ? 'there is a mistake' : `there are ${mistakes.length} mistakes`} in it.` })
      go(mistakes[0]!)
    } else setNotice({ text: `${what}. What you typed is still here.` })
  }

  /** Saves what differs, and answers with the template as it is then; with nothing if that was refused. */
  const save = async (): Promise<TemplatePartsFragment | undefined> => {
    setProblems([])
    setNotice(undefined)
    if (!latest.current.unsaved) return latest.current.base
    const wrong = contentOf(latest.current.draft).mistakes
    if (wrong.length) {
      setNotice({ text: 'Not saved: there is a mistake in it.' })
      go(wrong[0]!)
      return
    }
    const now = await client.query(EditedTemplateDocument, { id }, { requestPolicy: 'network-only' }).toPromise()
    const there = now.data?.template
    if (!there) {
      refuse(now.error ? problemsOf(now.error) : [{ message: 'This template is not there any more.', code: 'NOT_FOUND', path: [] }], 'Not saved')
      return
    }
    const { saved, draft, theirs } = takeOver(there)
    if (theirs) {
      setNotice({ text: 'Not saved: decide first between your changes and those that were saved elsewhere.' })
      return
    }
    const { content } = contentOf(draft)
    const changed = changedParts(draft, saved)
    const input = Object.fromEntries(changed.map((each) => [each, content[each]]))
    const { payload, problems } = await send('updateTemplate', UpdateTemplateDocument, { id, input: { content: input } })
    const template = payload?.template
    if (!template) {
      refuse(problems, 'Not saved')
      return
    }
    set((state) => ({ ...state, base: template, saved: draft }))
    setRefused([])
    return template
  }

  const doing = (what: string, work: () => Promise<unknown>) => async () => {
    if (busy) return
    setBusy(what)
    await work().finally(() => setBusy(''))
  }
  const saveDraft = doing('save', save)
  const publish = doing('publish', async () => {
    const template = await save()
    if (!template) return
    const { payload, problems } = await send('publishTemplate', PublishTemplateDocument, { id })
    const version = payload?.templateVersion
    if (!version) return refuse(problems, 'Not published')
    const before = template.latestVersion?.number
    if (version.template) set((state) => ({ ...state, base: version.template! }))
    setNotice({ text: version.number === before ? `Nothing has changed since version ${version.number}: it stays the latest.` : `Published as version ${version.number}. New documents use it from now on.` })
  })
  const test = doing('test', async () => {
    if (!(await save())) return
    const data = contentOf(latest.current.draft).content.sampleData
    const { payload, problems } = await send('createSubmission', CreateTestDocumentDocument, { input: { templateId: id, draft: true, data } })
    if (payload?.submission) navigate(`/submissions/${payload.submission.id}`)
    else refuse(problems, 'No document was made')
  })

  const onKey = useRef<(e: KeyboardEvent) => void>(() => {})
  onKey.current = (e) => {
    if (!(e.ctrlKey || e.metaKey) || e.altKey || e.shiftKey || e.key.toLowerCase() !== 's') return
    e.preventDefault()
    if (mayWrite && !dialog) void saveDraft()
  }
  useEffect(() => {
    const listen = (e: KeyboardEvent) => onKey.current(e)
    addEventListener('keydown', listen)
    return () => removeEventListener('keydown', listen)
  }, [])

  const onlyRead = mayWrite ? undefined : 'This token may only read.'
  const version = base.latestVersion?.number
  return (
    <Screen
      wide
      title={base.name}
      back={{ to: '/templates', name: 'Templates' }}
      actions={
        <>
          <button type="button" onClick={() => setDialog('settings')} disabled={!mayWrite} title={onlyRead}>
            Settings
          </button>
          <button type="button" onClick={() => setDialog('versions')}>
            Versions
          </button>
          <button
            type="button"
            onClick={() => void test()}
            disabled={!mayWrite || !!busy || !!base.archivedAt}
            title={onlyRead ?? (base.archivedAt ? 'It is archived, and takes no new documents.' : 'Saves the draft, and makes a document of it with the sample data.')}
          >
            {busy === 'test' ? 'Creating…' : 'Create a test document'}
          </button>
          <button type="button" onClick={() => void saveDraft()} disabled={!mayWrite || !!busy || !unsaved} title={onlyRead ?? 'Ctrl+S or ⌘S'} aria-keyshortcuts="Control+S Meta+S">
            {busy === 'save' ? 'Saving…' : 'Save draft'}
          </button>
          <button type="button" className="primary" onClick={() => void publish()} disabled={!mayWrite || !!busy || (!unsaved && !base.hasUnpublishedChanges)} title={onlyRead ?? 'Saves the draft, and makes it the version that documents use.'}>
            {busy === 'publish' ? 'Publishing…' : 'Publish'}
          </button>
        </>
      }
    >
      <div className="row template-line">
        {version ? <Tag>Version {version}</Tag> : <Tag>Not published yet</Tag>}
        {base.archivedAt && <Tag>Archived</Tag>}
        <span role="status" className="row">
          {unsaved ? <Tag kind="waiting">Unsaved changes</Tag> : base.hasUnpublishedChanges ? <Tag kind="waiting">Saved, not published</Tag> : <Tag kind="good">Saved and published</Tag>}
        </span>
        <span className="quiet">
          Edited <Time at={base.updatedAt} />
        </span>
        {base.description && <span className="quiet description">{base.description}</span>}
        <span role="status" className="row notice">
          {notice && (
            <>
              {notice.text}
              {notice.undo && (
                <button type="button" className="small" onClick={notice.undo.by}>
                  {notice.undo.name}
                </button>
              )}
            </>
          )}
        </span>
      </div>
      <Problems of={problems} />
      {theirs && (
        <div role="alert" className="problems theirs">
          <p>
            The draft was saved elsewhere (<Time at={theirs.updatedAt} />) while you had changes of your own.
          </p>
          <div className="row">
            <button type="button" className="small" onClick={() => (set((state) => ({ ...state, base: theirs, saved: draftOf(theirs.draft), theirs: undefined })), setNotice({ text: 'Saving replaces what was saved elsewhere, where yours differs.' }))}>
              Keep mine
            </button>
            <button
              type="button"
              className="small"
              onClick={() => {
                const mine = draft
                const content = draftOf(theirs.draft)
                set({ base: theirs, saved: content, draft: content, theirs: undefined })
                setNotice({ text: 'This is what was saved elsewhere.', undo: { name: 'Undo', by: () => edit(mine) } })
              }}
            >
              Take the other
            </button>
          </div>
        </div>
      )}
      <div className="work">
        <Tabs.Root className="parts" value={part} onValueChange={(value) => setPart(value as Part)}>
          <Tabs.List className="tabs" aria-label="Parts of the template">
            {parts.map((each) => {
              const wrong = marks[each].filter((m) => !m.warning).length
              return (
                <Tabs.Trigger key={each} value={each} className="tab">
                  {partNames[each]}
                  {wrong > 0 && (
                    <span className="tab-mark">
                      <span aria-hidden="true">{wrong > 1 ? wrong : '!'}</span>
                      <span className="hidden">{wrong > 1 ? `(${wrong} mistakes)` : '(a mistake)'}</span>
                    </span>
                  )}
                </Tabs.Trigger>
              )
            })}
          </Tabs.List>
          {parts.map((each) => (
            <Tabs.Content key={each} value={each} forceMount className="part" tabIndex={-1}>
              {each === 'page' ? (
                <PageForm page={draft.page} onChange={(page) => edit({ page })} mistakes={marks.page} disabled={!mayWrite} />
              ) : (
                <Text part={each} draft={draft} edit={edit} marks={marks[each]} jump={jump?.part === each ? jump.at : undefined} readOnly={!mayWrite} />
              )}
              {each === 'sampleData' && <Variables names={base.draft.variables} sampleData={draft.sampleData} unsaved={unsaved} />}
            </Tabs.Content>
          ))}
          <Mistakes of={[...mistakes, ...warnings]} onGo={go} />
          <p className="hint editor-hint" id="editor-hint">
            {part === 'page' ? 'Empty fields get their defaults.' : 'Tab indents; Escape, then Tab leaves the editor. Ctrl+F or ⌘F searches.'}
          </p>
        </Tabs.Root>
        <Preview of={preview} output={output} onOutput={setOutput} wrong={mistakes.length > 0} enabled={mayWrite} />
      </div>
      {dialog === 'settings' && <Settings template={base} onClose={() => setDialog(undefined)} onSaved={(template) => set((state) => ({ ...state, base: template }))} />}
      {dialog === 'versions' && (
        <Versions
          template={base}
          draft={draft}
          unsaved={unsaved}
          onClose={() => setDialog(undefined)}
          onRestored={(template, number) => {
            const before = draft
            const content = draftOf(template.draft)
            set({ base: template, saved: content, draft: content, theirs: undefined })
            setDialog(undefined)
            setNotice({ text: `Version ${number} is in the draft now.`, undo: { name: 'Undo', by: () => (edit(before), setNotice({ text: 'The draft is what it was before. Save it to keep it.' })) } })
          }}
        />
      )}
    </Screen>
  )
}

const languages = { html: 'html', css: 'css', headerHtml: 'html', footerHtml: 'html', sampleData: 'json', schema: 'json' } as const
const hints: Partial<Record<Source, string>> = {
  headerHtml: 'Printed at the top of every page, within its margin. An element with the class pageNumber or totalPages gets that number.',
  footerHtml: 'Printed at the bottom of every page, within its margin. An element with the class pageNumber or totalPages gets that number.',
  schema: 'A JSON Schema that the data of documents must satisfy. Empty: any data will do.',
}

function Text({ part, draft, edit, marks, jump, readOnly }: { part: Source; draft: Draft; edit: (change: Partial<Draft>) => void; marks: Mistake[]; jump: Jump | undefined; readOnly: boolean }) {
  const hint = hints[part]
  return (
    <>
      {hint && <p className="hint part-hint">{hint}</p>}
      <Code
        label={partNames[part]}
        language={languages[part]}
        value={draft[part]}
        onChange={(text) => edit({ [part]: text })}
        marks={marks}
        jump={jump}
        readOnly={readOnly}
        describedBy="editor-hint"
        data={() => readJson(draft.sampleData).value}
      />
    </>
  )
}

/** What is wrong, in words, each with the way to its place. */
function Mistakes({ of, onGo }: { of: Mistake[]; onGo: (mistake: Mistake) => void }) {
  return (
    <div role="status" className="mistakes">
      {of.length > 0 && (
        <ul>
          {of.slice(0, 20).map((m, i) => (
            <li key={i} className={m.warning ? 'warning' : undefined}>
              {m.part ? (
                <button type="button" onClick={() => onGo(m)}>
                  <strong>
                    {partNames[m.part]}
                    {m.line ? `, line ${m.line}, column ${m.column}` : ''}
                  </strong>
                  <span>{m.message}</span>
                </button>
              ) : (
                <span>{m.message}</span>
              )}
            </li>
          ))}
        </ul>
      )}
    </div>
  )
}

/** The names that the saved draft reads, and whether the sample data has them. */
function Variables({ names, sampleData, unsaved }: { names: string[]; sampleData: string; unsaved: boolean }) {
  const { value, mistake } = useMemo(() => readJson(sampleData), [sampleData])
  const missing = useMemo(() => (mistake ? new Set<string>() : missingFrom(value, names)), [value, mistake, names])
  return (
    <details className="variables" open>
      <summary>
        Variables that the template reads
        {missing.size > 0 && <Tag kind="waiting">{missing.size} not in the sample data</Tag>}
      </summary>
      {names.length === 0 ? (
        <p className="hint">None. Write one as {'{{ customer.name }}'}.</p>
      ) : (
        <ul>
          {names.map((name) => (
            <li key={name} className={missing.has(name) ? 'missing' : undefined}>
              <code>{name}</code>
              {missing.has(name) && <span>missing</span>}
            </li>
          ))}
        </ul>
      )}
      {unsaved && <p className="hint">Of the draft as it was last saved.</p>}
    </details>
  )
}
