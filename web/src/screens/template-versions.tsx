import { lazy, Suspense, useEffect, useState } from 'react'
import { useRead } from '../api/read'
import { problemsOf, send, type Problem } from '../api/client'
import { useReset, useSubscribed } from '../api/feed'
import {
  RestoreTemplateVersionDocument,
  RetryVersionActionDocument,
  TemplateVersionContentDocument,
  TemplateVersionsDocument,
  VersionActionsDocument,
  type ActionPartsFragment,
  type TemplatePartsFragment,
} from '../api/generated'
import { Busy, Check, Confirm, Dialog, Empty, FailureNote, Pager, Problems, Select, State, Tag, Time, usePages } from '../parts/parts'
import { useViewer } from '../parts/viewer'
import { changedParts, draftOf, pageText, partNames, parts, type Draft, type Part } from './template-content'

const Compare = lazy(() => import('./template-compare'))

/** The published versions: where their copies are, how they differ, and the way back to one. */
export function Versions({
  template,
  draft,
  unsaved,
  onRestored,
  onClose,
}: {
  template: TemplatePartsFragment
  draft: Draft
  unsaved: boolean
  onRestored: (template: TemplatePartsFragment, number: number) => void
  onClose: () => void
}) {
  const [comparing, setComparing] = useState<number>()
  const [restoring, setRestoring] = useState<{ id: string; number: number }>()
  return (
    <Dialog title={comparing ? 'Compare versions' : 'Versions'} wide onClose={onClose}>
      {comparing ? (
        <Comparison template={template} draft={draft} number={comparing} onBack={() => setComparing(undefined)} />
      ) : (
        <VersionList template={template} onCompare={setComparing} onRestore={setRestoring} />
      )}
      {restoring && (
        <Confirm
          title={`Put version ${restoring.number} into the draft?`}
          yes="Replace the draft"
          onClose={() => setRestoring(undefined)}
          onYes={async () => {
            const { payload, problems } = await send('restoreTemplateVersion', RestoreTemplateVersionDocument, { id: restoring.id })
            if (payload?.template) onRestored(payload.template, restoring.number)
            return problems
          }}
        >
          <p>
            The draft is replaced by the content of version {restoring.number}
            {unsaved ? ', and so is what you have typed and not saved' : template.hasUnpublishedChanges ? ', and so are its unpublished changes' : ''}. Versions stay as they are, and documents go on with the latest one until you publish.
          </p>
        </Confirm>
      )}
    </Dialog>
  )
}

function VersionList({ template, onCompare, onRestore }: { template: TemplatePartsFragment; onCompare: (number: number) => void; onRestore: (version: { id: string; number: number }) => void }) {
  const { mayWrite } = useViewer()
  const pages = usePages()
  const [{ data, error, fetching }, read] = useRead({ query: TemplateVersionsDocument, variables: { id: template.id, after: pages.after } })
  const again = () => read({ requestPolicy: 'network-only' })
  useReset(again)
  const [after, setAfter] = useState<string | null>(null)
  useSubscribed(VersionActionsDocument, { after }, ({ actionFeed: event }) => {
    if (event.__typename === 'FeedReset') setAfter(event.cursor)
    if (event.__typename === 'ActionChange' && !(event.action.subject.__typename === 'TemplateVersion' && event.action.subject.template?.id === template.id)) return
    again()
  })
  const versions = data?.template?.versions.nodes
  return (
    <div className="stack">
      <Problems of={problemsOf(error)} />
      {!versions && fetching && <Busy />}
      {versions?.length === 0 && <Empty title="Nothing is published yet">Publish the draft, and it becomes version 1: documents use the latest version, and the draft can be edited on.</Empty>}
      {versions && versions.length > 0 && (
        <div className="table">
          <table className="cards" aria-label="Versions">
            <thead>
              <tr>
                <th scope="col">Version</th>
                <th scope="col">Published</th>
                <th scope="col">Copies in buckets</th>
                <th scope="col">
                  <span className="hidden">What to do</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {versions.map((version) => (
                <tr key={version.id}>
                  <td data-name="Version">
                    <span>
                      <strong>{version.number}</strong> {version.number === template.latestVersion?.number && <Tag kind="good">Latest</Tag>}
                    </span>
                  </td>
                  <td data-name="Published">
                    <Time at={version.publishedAt} />
                  </td>
                  <td data-name="Copies">{version.actions.length === 0 ? <span className="quiet">None</span> : <Copies of={version.actions} onRetried={again} />}</td>
                  <td>
                    <div className="row version-buttons">
                      <button type="button" className="small" aria-label={`Compare version ${version.number}`} onClick={() => onCompare(version.number)}>
                        Compare
                      </button>
                      <button type="button" className="small" aria-label={`Restore version ${version.number}`} disabled={!mayWrite} title={mayWrite ? undefined : 'This token may only read.'} onClick={() => onRestore(version)}>
                        Restore
                      </button>
                    </div>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Pager pages={pages} info={data?.template?.versions.pageInfo} />
    </div>
  )
}

function Copies({ of, onRetried }: { of: ActionPartsFragment[]; onRetried: () => void }) {
  const { mayWrite } = useViewer()
  const [problems, setProblems] = useState<Problem[]>([])
  const retry = async (id: string) => {
    const { problems } = await send('retryAction', RetryVersionActionDocument, { id })
    setProblems(problems)
    onRetried()
  }
  return (
    <ul className="copies">
      {of.map((action) => (
        <li key={action.id}>
          <div className="row">
            <State of={action.state} />
            <span>{action.integration?.name ?? 'A deleted integration'}</span>
            {action.state === 'FAILED' && mayWrite && (
              <button type="button" className="small" onClick={() => void retry(action.id)}>
                Try again
              </button>
            )}
          </div>
          {action.destination && (
            <div className="hint">
              <code>{action.destination}</code>
            </div>
          )}
          {action.failure && (
            <details>
              <summary>{action.failure.code}</summary>
              <FailureNote of={action.failure} />
            </details>
          )}
        </li>
      ))}
      <Problems of={problems} />
    </ul>
  )
}

const draftCode = 'draft'
const textOf = (draft: Draft, part: Part) => (part === 'page' ? pageText(draft.page) : draft[part])
const languages = { html: 'html', css: 'css', headerHtml: 'html', footerHtml: 'html', sampleData: 'json', schema: 'json', page: 'text' } as const

function Comparison({ template, draft, number, onBack }: { template: TemplatePartsFragment; draft: Draft; number: number; onBack: () => void }) {
  const [before, setBefore] = useState(String(number))
  const [after, setAfter] = useState(draftCode)
  const [chosen, setPart] = useState<Part>()
  const [unified, setUnified] = useState(() => matchMedia('(max-width: 900px)').matches)
  const a = useContent(template.id, before, draft)
  const b = useContent(template.id, after, draft)
  const changed = a.content && b.content ? changedParts(a.content, b.content) : []
  const part = chosen && changed.includes(chosen) ? chosen : changed[0]
  // All that there may be: numbers are never left out.
  const all = Array.from({ length: template.latestVersion?.number ?? 0 }, (_, i) => String(template.latestVersion!.number - i))
  const options = [[draftCode, 'The draft'] as const, ...all.map((n) => [n, `Version ${n}`] as const)]
  const name = (code: string) => (code === draftCode ? 'the draft' : `version ${code}`)
  return (
    <div className="stack comparison">
      <div className="filters">
        <button type="button" onClick={onBack}>
          ← All versions
        </button>
        <Select label="From" value={before} options={options} onChange={setBefore} />
        <Select label="To" value={after} options={options} onChange={setAfter} />
        <Check label="In one column" checked={unified} onChange={setUnified} />
      </div>
      <Problems of={[...problemsOf(a.error), ...problemsOf(b.error)]} />
      {!a.content || !b.content ? (
        !a.error && !b.error && <Busy />
      ) : !part ? (
        <Empty title="They are the same">
          Nothing differs between {name(before)} and {name(after)}.
        </Empty>
      ) : (
        <>
          <div className="row" role="group" aria-label="Parts that differ">
            {parts
              .filter((each) => changed.includes(each))
              .map((each) => (
                <button key={each} type="button" className="small" aria-pressed={each === part} onClick={() => setPart(each)}>
                  {partNames[each]}
                </button>
              ))}
          </div>
          <Suspense fallback={<Busy />}>
            <Compare
              key={`${before} ${after} ${part} ${unified}`}
              before={textOf(a.content, part)}
              after={textOf(b.content, part)}
              names={[`${partNames[part]} of ${name(before)}`, `${partNames[part]} of ${name(after)}`]}
              language={languages[part]}
              unified={unified}
            />
          </Suspense>
        </>
      )}
    </div>
  )
}

function useContent(id: string, code: string, draft: Draft) {
  const [{ data, error }] = useRead({ query: TemplateVersionContentDocument, variables: { id, number: Number(code) || 0 }, pause: code === draftCode, requestPolicy: 'cache-first' })
  const [content, setContent] = useState<Draft>()
  const version = data?.template?.version
  useEffect(() => setContent(version ? draftOf(version.content) : undefined), [version])
  if (code === draftCode) return { content: draft, error: undefined }
  return { content: version && String(version.number) === code ? content : undefined, error }
}
