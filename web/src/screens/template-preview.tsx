import { useCallback, useEffect, useRef, useState } from 'react'
import { send, type Problem } from '../api/client'
import { useConnection } from '../api/feed'
import { PreviewTemplateDocument } from '../api/generated'
import { bytes, count, duration, Empty, Problems } from '../parts/parts'
import { contentOf, mistakesOf, paperStyle, placed, type Draft, type Mistake } from './template-content'

export type Output = 'PDF' | 'PNG'

interface Shown {
  url: string
  output: Output
  pages: number | null
  byteSize: number
  took: number
}

// pause is for how long nobody types before the preview follows.
const pause = 300

/**
 * The preview of a draft: it follows typing, with never more than one request under way, and of
 * what changed meanwhile the newest only. What was good stays until there is something better.
 */
export function usePreview(templateId: string, draft: Draft, output: Output, enabled: boolean) {
  const [shown, setShown] = useState<Shown>()
  const [mistakes, setMistakes] = useState<Mistake[]>([])
  const [problems, setProblems] = useState<Problem[]>([])
  const [busy, setBusy] = useState(false)
  const latest = useRef({ draft, output })
  const flying = useRef(false)
  const waiting = useRef(false)
  const gone = useRef(false)
  latest.current = { draft, output }

  const run = useCallback(async () => {
    waiting.current = true
    if (flying.current) return
    flying.current = true
    setBusy(true)
    while (waiting.current && !gone.current) {
      waiting.current = false
      const { draft, output } = latest.current
      const { content, mistakes } = contentOf(draft)
      if (mistakes.length) {
        setMistakes([]) // they are shown as they are typed
        setProblems([])
        continue
      }
      if (output === 'PNG') content.css = [content.css, paperStyle(draft.page)].join('\n')
      const began = performance.now()
      const { payload, problems } = await send('previewTemplate', PreviewTemplateDocument, { input: { templateId, content, output } })
      if (gone.current) return
      if (payload?.downloadUrl && payload.file) {
        // The page's own address for it: a server may be reached by several names.
        const { pathname, search } = new URL(payload.downloadUrl)
        setShown({ url: pathname + search, output, pages: payload.file.pageCount, byteSize: payload.file.byteSize, took: Math.round(performance.now() - began) })
      }
      // Of what is not the newest any more the mistakes would be in the wrong places.
      if (waiting.current) continue
      const found = placed(problems)
      setMistakes([...found.mistakes, ...(payload?.failure ? mistakesOf(payload.failure, draft) : [])])
      setProblems(found.others)
    }
    flying.current = false
    setBusy(false)
  }, [templateId])

  const first = useRef(true)
  useEffect(() => {
    if (!enabled) return
    const timer = setTimeout(run, first.current ? 0 : pause)
    first.current = false
    return () => clearTimeout(timer)
  }, [draft, output, enabled, run])

  // What could not be reached is tried again once the connection is back.
  const { turn } = useConnection()
  const failed = useRef(false)
  failed.current = problems.length > 0
  useEffect(() => {
    if (failed.current && enabled) void run()
  }, [turn, enabled, run])

  useEffect(() => {
    gone.current = false
    return () => void (gone.current = true)
  }, [])

  return { shown, mistakes, problems, busy, again: run }
}

const chosen = 'platen.preview'

/** How previews are shown: as chosen last, else as this browser can. */
export function useOutput(): [Output, (output: Output) => void] {
  const [output, setOutput] = useState<Output>(() => {
    const kept = localStorage.getItem(chosen)
    if (kept === 'PDF' || kept === 'PNG') return kept
    return navigator.pdfViewerEnabled === false ? 'PNG' : 'PDF'
  })
  return [
    output,
    (next) => {
      setOutput(next)
      localStorage.setItem(chosen, next)
    },
  ]
}

export function Preview({ of, output, onOutput, wrong, enabled }: { of: ReturnType<typeof usePreview>; output: Output; onOutput: (output: Output) => void; wrong: boolean; enabled: boolean }) {
  const { shown, problems, busy, again } = of
  const old = wrong || problems.length > 0
  return (
    <section className="preview" aria-label="Preview">
      <header className="row preview-head">
        <h2>Preview</h2>
        <span className="quiet preview-facts">
          {busy && <span className="spinner" aria-hidden="true" />}
          {shown && (
            <span>
              {shown.pages != null && count(shown.pages, 'page') + ' · '}
              {bytes(shown.byteSize)} · {duration(shown.took)}
            </span>
          )}
        </span>
        <div className="switch" role="group" aria-label="Show the preview as">
          {(['PDF', 'PNG'] as const).map((kind) => (
            <button key={kind} type="button" className="small" aria-pressed={output === kind} onClick={() => onOutput(kind)}>
              {kind === 'PDF' ? 'PDF' : 'Image'}
            </button>
          ))}
        </div>
        {shown && (
          <a className="button small" href={shown.url} target="_blank" rel="noreferrer">
            Open
          </a>
        )}
      </header>
      <div role="status">{old && shown && <p className="preview-old">This is how it looked before the last mistake.</p>}</div>
      {problems.length > 0 && (
        <div className="row preview-problems">
          <Problems of={problems} />
          <button type="button" className="small" onClick={() => void again()}>
            Try again
          </button>
        </div>
      )}
      {!shown ? (
        <Empty title={!enabled ? 'This token may only read' : old ? 'Nothing to show yet' : 'Making the first preview…'}>
          {!enabled ? 'Previews need a token of the scope WRITE.' : old ? 'Correct the mistake, and the document appears here.' : null}
        </Empty>
      ) : shown.output === 'PNG' ? (
        <Picture shown={shown} old={old} />
      ) : navigator.pdfViewerEnabled === false ? (
        // It would save each state as a file.
        <Empty title="This browser does not show PDFs by itself">
          <p>
            <a href={shown.url} target="_blank" rel="noreferrer">
              Open the document
            </a>
            , or choose <em>Image</em> to see it here.
          </p>
        </Empty>
      ) : (
        <Frames shown={shown} old={old} />
      )}
      {shown?.output === 'PNG' && <p className="hint preview-hint">An image has no paper: header, footer and page breaks are seen in the PDF.</p>}
    </section>
  )
}

/** The PDF. A new one is loaded behind the old one and takes its place once it is there: nothing flashes. */
function Frames({ shown, old }: { shown: Shown; old: boolean }) {
  const [frames, setFrames] = useState<{ url: string; loaded: boolean }[]>([])
  useEffect(() => setFrames((before) => [...before.filter((frame) => frame.loaded).slice(-1), { url: shown.url, loaded: false }]), [shown.url])
  const newest = frames.findLast((frame) => frame.loaded)?.url
  // A viewer has loaded a little before it has drawn.
  useEffect(() => {
    if (!newest || frames.length < 2) return
    const timer = setTimeout(() => setFrames((before) => before.slice(before.findIndex((frame) => frame.url === newest))), 350)
    return () => clearTimeout(timer)
  }, [newest, frames.length])
  return (
    <div className={old ? 'frames old' : 'frames'}>
      {frames.map(({ url }, i) => (
        <iframe
          key={url}
          className="frame"
          title={i ? 'The next state of the document' : 'The document as PDF'}
          src={url + '#navpanes=0&view=FitH'}
          aria-hidden={i > 0 || undefined}
          tabIndex={i ? -1 : undefined}
          onLoad={() => setFrames((before) => before.map((frame) => (frame.url === url ? { url, loaded: true } : frame)))}
        />
      ))}
    </div>
  )
}

/** The image. It changes once the next one can be drawn, and stays scrolled to where it is. */
function Picture({ shown, old }: { shown: Shown; old: boolean }) {
  const [url, setUrl] = useState<string>()
  useEffect(() => {
    let over = false
    const next = new Image()
    next.src = shown.url
    const show = () => over || setUrl(shown.url)
    next.decode().then(show, show)
    return () => void (over = true)
  }, [shown.url])
  return (
    <div className={old ? 'frames old' : 'frames'}>
      <div className="frame image" tabIndex={0} role="group" aria-label="The document as an image">
        {url && <img src={url} alt="The document, as the template and the sample data make it" />}
      </div>
    </div>
  )
}
