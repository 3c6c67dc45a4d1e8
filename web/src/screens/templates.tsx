import { useEffect, useMemo, useRef, useState } from 'react'
import { useRead } from '../api/read'
import { Link, useLocation, useSearchParams } from 'wouter'
import { problemsOf, send, type Problem } from '../api/client'
import { useReset } from '../api/feed'
import { CreateTemplateDocument, TemplateListDocument } from '../api/generated'
import { about, Busy, Check, Dialog, Empty, Input, others, Pager, Problems, Screen, Select, Tag, Time, usePages } from '../parts/parts'
import { useViewer } from '../parts/viewer'
import { blank, invoice } from './template-starter'

/** The account's templates. */
export function Templates() {
  const { mayWrite } = useViewer()
  const [search, setSearch] = useSearchParams()
  const archived = search.get('archived') === 'true'
  const [name, setName] = useState(search.get('name') ?? '')
  const wanted = search.get('name') ?? ''
  const [creating, setCreating] = useState(false)
  const pages = usePages()
  const [{ data, error, fetching }, again] = useRead({
    query: TemplateListDocument,
    variables: { after: pages.after, filter: { nameContains: wanted || null, archived } },
  })
  useReset(() => again({ requestPolicy: 'network-only' }))

  // Templates have no feed: whoever comes back to this window sees what others did meanwhile.
  useEffect(() => {
    const look = () => document.visibilityState === 'visible' && again({ requestPolicy: 'network-only' })
    document.addEventListener('visibilitychange', look)
    return () => document.removeEventListener('visibilitychange', look)
  }, [again])

  const filter = (change: { name?: string; archived?: boolean }) => {
    const next = new URLSearchParams()
    const { name, archived: old } = { name: wanted, archived, ...change }
    if (name) next.set('name', name)
    if (old) next.set('archived', 'true')
    setSearch(next, { replace: true })
    pages.start()
  }
  useEffect(() => {
    if (name.trim() === wanted) return
    const timer = setTimeout(() => filter({ name: name.trim() }), 250)
    return () => clearTimeout(timer)
  }, [name])

  const templates = data?.templates.nodes
  const create = (
    <button type="button" className="primary" disabled={!mayWrite} title={mayWrite ? undefined : 'This token may only read.'} onClick={() => setCreating(true)}>
      New template
    </button>
  )
  return (
    <Screen title="Templates" actions={create}>
      <search className="filters">
        <Input label="Name" type="search" placeholder="A part of it" value={name} onChange={(e) => setName(e.currentTarget.value)} />
        <Select
          label="Show"
          value={archived ? 'archived' : 'active'}
          options={[
            ['active', 'In use'],
            ['archived', 'Archived'],
          ]}
          onChange={(which) => filter({ archived: which === 'archived' })}
        />
      </search>
      <Problems of={problemsOf(error)} />
      {!templates && fetching && <Busy />}
      {templates && templates.length > 0 && (
        <div className="table">
          <table className="cards" aria-label="Templates">
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Latest version</th>
                <th scope="col">Draft</th>
                <th scope="col">Edited</th>
              </tr>
            </thead>
            <tbody>
              {templates.map((template) => (
                <tr key={template.id}>
                  <td data-name="Name">
                    <div>
                      <Link to={`/templates/${template.id}`}>{template.name}</Link> {template.archivedAt && <Tag>Archived</Tag>}
                      {template.description && <div className="hint">{template.description}</div>}
                    </div>
                  </td>
                  <td data-name="Latest version">{template.latestVersion ? `Version ${template.latestVersion.number}` : <span className="quiet">Not published yet</span>}</td>
                  <td data-name="Draft">{template.hasUnpublishedChanges ? <Tag kind="waiting">Unpublished changes</Tag> : <span className="quiet">As published</span>}</td>
                  <td data-name="Edited">
                    <Time at={template.updatedAt} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {templates?.length === 0 &&
        (wanted ? (
          <Empty title={`No ${archived ? 'archived template' : 'template'} has “${wanted}” in its name`}>
            <button type="button" onClick={() => (setName(''), filter({ name: '' }))}>
              Show all
            </button>
          </Empty>
        ) : archived ? (
          <Empty title="The archive is empty">Templates that are not needed any more can be moved here, in their settings.</Empty>
        ) : (
          <Empty title="Begin with a template">
            <p>A template is HTML and CSS that your data is poured into. A new one brings an example along, with data and a preview, to be changed into what you need.</p>
            {create}
          </Empty>
        ))}
      <Pager pages={pages} info={data?.templates.pageInfo} />
      {creating && <NewTemplate onClose={() => setCreating(false)} />}
    </Screen>
  )
}

const starters = [
  ['invoice', 'An invoice', 'A page with a table, a header, a footer and sample data. Change it into what you need.', invoice],
  ['blank', 'A blank page', 'A heading and nothing more.', blank],
] as const

function NewTemplate({ onClose }: { onClose: () => void }) {
  const [, navigate] = useLocation()
  const [name, setName] = useState('')
  const [starter, setStarter] = useState<(typeof starters)[number][0]>('invoice')
  const [publish, setPublish] = useState(true) // as the API does: else a first document would be a test
  const [problems, setProblems] = useState<Problem[]>([])
  const [busy, setBusy] = useState(false)
  const form = useRef<HTMLFormElement>(null)
  useEffect(() => form.current?.querySelector('input')?.focus(), [])
  // Sent again after a lost answer it is the same call, and makes no second template.
  const idempotencyKey = useMemo(() => Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join('-'), [name, starter, publish])

  const create = async () => {
    setBusy(true)
    const content = starters.find(([code]) => code === starter)![3]
    const { payload, problems } = await send('createTemplate', CreateTemplateDocument, { input: { name, content, publish, idempotencyKey } })
    setBusy(false)
    setProblems(problems)
    if (payload?.template) navigate(`/templates/${payload.template.id}`)
  }
  return (
    <Dialog title="New template" onClose={onClose}>
      <form
        ref={form}
        onSubmit={(e) => {
          e.preventDefault()
          void create()
        }}
      >
        <Problems of={others(problems, ['input', 'name'])} />
        <Input label="Name" hint="By which people know it. It can be changed later." placeholder="Invoice" value={name} required spellCheck errors={about(problems, 'input', 'name')} onChange={(e) => setName(e.currentTarget.value)} />
        <fieldset>
          <legend>Begin with</legend>
          <div className="stack">
            {starters.map(([code, title, about]) => (
              <div key={code} className="field check">
                <input type="radio" id={'starter-' + code} name="starter" checked={starter === code} onChange={() => setStarter(code)} aria-describedby={`starter-${code}-hint`} />
                <label htmlFor={'starter-' + code}>{title}</label>
                <div id={`starter-${code}-hint`} className="hint">
                  {about}
                </div>
              </div>
            ))}
          </div>
        </fieldset>
        <Check label="Publish it at once" hint="As version 1, which documents can use. Else it is a draft, to be published in the editor." checked={publish} onChange={setPublish} />
        <div className="row end">
          <button type="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="primary" disabled={busy}>
            {busy ? 'Creating…' : 'Create template'}
          </button>
        </div>
      </form>
    </Dialog>
  )
}
