// The small parts that every screen is made of.
import { Dialog as Radix } from 'radix-ui'
import { useEffect, useId, useRef, useState, type ComponentProps, type ReactNode } from 'react'
import { Link } from 'wouter'
import type { Problem } from '../api/client'
import type { ActionState, DocumentState, FailurePartsFragment } from '../api/generated'

/** A screen: its heading, which takes the focus when one comes to it, what can be done, and the rest. */
export function Screen({ title, actions, children, back, wide }: { title: string; actions?: ReactNode; children: ReactNode; back?: { to: string; name: string }; wide?: boolean }) {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    document.title = `${title} · Platen`
  }, [title])
  useEffect(() => heading.current?.focus({ preventScroll: true }), [])
  return (
    <main id="main" className={wide ? 'wide' : undefined}>
      {back && (
        <nav aria-label="Back" className="back">
          <Link to={back.to}>← {back.name}</Link>
        </nav>
      )}
      <header className="heading">
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {actions && <div className="row">{actions}</div>}
      </header>
      {children}
    </main>
  )
}

/** A box with a heading. */
export function Section({ title, actions, children }: { title: string; actions?: ReactNode; children: ReactNode }) {
  const id = useId()
  return (
    <section className="box" aria-labelledby={id}>
      <header className="heading">
        <h2 id={id}>{title}</h2>
        {actions && <div className="row">{actions}</div>}
      </header>
      {children}
    </section>
  )
}

const stateNames: Record<DocumentState, string> = { PENDING: 'Pending', PROCESSED: 'Processed', INVALID_DATA: 'Invalid data', FAILED: 'Failed' }
const stateKinds: Record<DocumentState, string> = { PENDING: 'waiting', PROCESSED: 'good', INVALID_DATA: 'bad', FAILED: 'bad' }

/** The state of a document, a batch or an action: a colour, a sign and a word. */
export function State({ of, expired }: { of: DocumentState | ActionState; expired?: boolean }) {
  const kind = stateKinds[of]
  return (
    <span className={`state ${kind}`} data-state={of}>
      <span aria-hidden="true">{kind === 'waiting' ? '◌' : kind === 'good' ? '✓' : '✕'}</span> {stateNames[of]}
      {expired && ', expired'}
    </span>
  )
}

/** A small label. */
export function Tag({ children, kind = '' }: { children: ReactNode; kind?: 'good' | 'bad' | 'waiting' | '' }) {
  return <span className={`tag ${kind}`}>{children}</span>
}

const dayAndTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })

/** An instant in the zone of whoever looks; in UTC on hover. */
export function Time({ at, none = '–' }: { at: string | null | undefined; none?: string }) {
  if (!at) return <>{none}</>
  return (
    <time dateTime={at} title={at.replace('T', ' ').replace('Z', ' UTC')}>
      {dayAndTime.format(new Date(at))}
    </time>
  )
}

/** 1.4 MB */
export function bytes(n: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB']
  let unit = 0
  for (; n >= 1000 && unit < units.length - 1; unit++) n /= 1000
  return `${unit === 0 ? n : n.toFixed(n < 10 ? 1 : 0)} ${units[unit]}`
}

/** 850 ms, 2.1 s */
export const duration = (ms: number) => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`)

/** A count as people write it. */
export const count = (n: number, one: string, many = one + 's') => `${n.toLocaleString()} ${n === 1 ? one : many}`

/** What was refused, and what to do. Screen readers hear it at once. */
export function Problems({ of }: { of: Problem[] }) {
  if (!of.length) return null
  return (
    <div role="alert" className="problems">
      {of.map((p, i) => (
        <p key={i}>
          {p.message}
          {p.line ? ` (line ${p.line}, column ${p.column})` : ''} {p.code && <code>{p.code}</code>}
        </p>
      ))}
    </div>
  )
}

/** Those of some problems that are about one field, for beside it. */
export const about = (problems: Problem[], ...path: string[]) =>
  problems.filter((p) => path.every((part, i) => p.path[i] === part)).map((p) => p.message + (p.line ? ` (line ${p.line}, column ${p.column})` : ''))

/** Those that are about none of these fields. */
export const others = (problems: Problem[], ...paths: string[][]) => problems.filter((p) => !paths.some((path) => path.every((part, i) => p.path[i] === part)))

/** A failure of a document or an action, with what to do about it. */
export function FailureNote({ of }: { of: FailurePartsFragment }) {
  return (
    <div className="failure">
      <p>{of.message}</p>
      <p className="quiet">
        {stages[of.stage]} <code>{of.code}</code>
        {of.providerCode && of.providerCode !== of.code && (
          <>
            {' '}
            (storage: <code>{of.providerCode}</code>)
          </>
        )}
        {of.path && <> in {of.path.join(' › ')}</>}
        {of.line && (
          <>
            , line {of.line}, column {of.column}
          </>
        )}
        . {of.retryable ? 'Trying again can help.' : 'Trying again without a change will not help.'} <Time at={of.occurredAt} />
      </p>
      {of.dataErrors.length > 0 && (
        <ul>
          {of.dataErrors.map((e, i) => (
            <li key={i}>
              <code>{e.pointer || '(the data as a whole)'}</code> {e.message}
            </li>
          ))}
        </ul>
      )}
      {of.details != null && (
        <details>
          <summary>Details</summary>
          <Json of={of.details} />
        </details>
      )}
    </div>
  )
}

const stages: Record<FailurePartsFragment['stage'], string> = {
  VALIDATE: 'While the data was checked:',
  TEMPLATE: 'While the template was filled:',
  ASSET: 'While images, styles and fonts were loaded:',
  RENDER: 'While the browser made the document:',
  STORE: "While Platen's own copy was written:",
  COMBINE: 'While the parts were merged:',
  DELIVER: 'While it was delivered:',
}

/** Any JSON, to read and to copy. */
export function Json({ of }: { of: unknown }) {
  const text = JSON.stringify(of, null, 2)
  return (
    <div className="json">
      <pre tabIndex={0}>{text}</pre>
      <Copy text={text} />
    </div>
  )
}

/** Copies a text. */
export function Copy({ text, name = 'Copy' }: { text: string; name?: string }) {
  const [done, setDone] = useState(false)
  useEffect(() => {
    if (!done) return
    const timer = setTimeout(() => setDone(false), 2000)
    return () => clearTimeout(timer)
  }, [done])
  return (
    <button type="button" className="small" aria-label={done ? 'Copied' : name} onClick={() => void copy(text).then(setDone)}>
      {done ? 'Copied' : 'Copy'}
    </button>
  )
}

/** Whether a text could be copied. Browsers have a clipboard for pages of https and of this machine alone; the older way works for all. */
async function copy(text: string): Promise<boolean> {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    )
  }
  const area = document.createElement('textarea')
  area.value = text
  document.body.append(area)
  area.select()
  const done = document.execCommand('copy')
  area.remove()
  return done
}

/** A field of a form: its name, what it means, and what is wrong with it, all read together with it. */
export function Field({
  label,
  hint,
  errors = [],
  children,
}: {
  label: string
  hint?: ReactNode
  errors?: string[]
  children: (given: { id: string; 'aria-describedby': string | undefined; 'aria-invalid': boolean | undefined }) => ReactNode
}) {
  const id = useId()
  const described = [hint ? id + '-hint' : '', errors.length ? id + '-errors' : ''].filter(Boolean).join(' ')
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, 'aria-describedby': described || undefined, 'aria-invalid': errors.length ? true : undefined })}
      {hint && (
        <div id={id + '-hint'} className="hint">
          {hint}
        </div>
      )}
      {errors.length > 0 && (
        <div id={id + '-errors'} className="errors" role="alert">
          {errors.map((e, i) => (
            <p key={i}>{e}</p>
          ))}
        </div>
      )}
    </div>
  )
}

/** A line of text to fill in. */
export function Input({ label, hint, errors, ...rest }: { label: string; hint?: ReactNode; errors?: string[] } & Omit<ComponentProps<'input'>, 'id'>) {
  return (
    <Field label={label} hint={hint} errors={errors ?? []}>
      {(given) => <input type="text" autoComplete="off" spellCheck={false} {...rest} {...given} />}
    </Field>
  )
}

/** One of several. */
export function Select<T extends string>({
  label,
  hint,
  errors,
  value,
  options,
  onChange,
  ...rest
}: {
  label: string
  hint?: ReactNode
  errors?: string[]
  value: T
  options: readonly (readonly [T, string])[]
  onChange: (value: T) => void
} & Omit<ComponentProps<'select'>, 'id' | 'value' | 'onChange'>) {
  return (
    <Field label={label} hint={hint} errors={errors ?? []}>
      {(given) => (
        <select value={value} onChange={(e) => onChange(e.currentTarget.value as T)} {...rest} {...given}>
          {options.map(([code, name]) => (
            <option key={code} value={code}>
              {name}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}

/** Yes or no. */
export function Check({ label, hint, checked, onChange, disabled }: { label: string; hint?: ReactNode; checked: boolean; onChange: (checked: boolean) => void; disabled?: boolean }) {
  const id = useId()
  return (
    <div className="field check">
      <input id={id} type="checkbox" checked={checked} disabled={disabled} onChange={(e) => onChange(e.currentTarget.checked)} aria-describedby={hint ? id + '-hint' : undefined} />
      <label htmlFor={id}>{label}</label>
      {hint && (
        <div id={id + '-hint'} className="hint">
          {hint}
        </div>
      )}
    </div>
  )
}

/** What a list says that has nothing to show: what to do first. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <p className="title">{title}</p>
      {children}
    </div>
  )
}

/** Work that is going on. */
export function Busy({ what = 'Loading' }: { what?: string }) {
  return (
    <p className="busy" role="status">
      <span className="spinner" aria-hidden="true" /> {what}…
    </p>
  )
}

/** A dialog over the page. It closes with Escape and gives the focus back. */
export function Dialog({ title, children, onClose, wide }: { title: string; children: ReactNode; onClose: () => void; wide?: boolean }) {
  return (
    <Radix.Root open onOpenChange={(open) => !open && onClose()}>
      <Radix.Portal>
        <Radix.Overlay className="overlay" />
        <Radix.Content className={wide ? 'dialog wide' : 'dialog'} aria-describedby={undefined}>
          <header className="heading">
            <Radix.Title asChild>
              <h2>{title}</h2>
            </Radix.Title>
            <Radix.Close asChild>
              <button type="button" className="small" aria-label="Close">
                ✕
              </button>
            </Radix.Close>
          </header>
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  )
}

/** Asks before something that cannot be undone. */
export function Confirm({ title, children, yes, onYes, onClose }: { title: string; children: ReactNode; yes: string; onYes: () => Promise<Problem[]>; onClose: () => void }) {
  const [problems, setProblems] = useState<Problem[]>([])
  const [busy, setBusy] = useState(false)
  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      <Problems of={problems} />
      <div className="row end">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button
          type="button"
          className="danger"
          disabled={busy}
          onClick={async () => {
            setBusy(true)
            const found = await onYes()
            setBusy(false)
            if (found.length) setProblems(found)
            else onClose()
          }}
        >
          {yes}
        </button>
      </div>
    </Dialog>
  )
}

/** Names and values. */
export function Facts({ of }: { of: (readonly [string, ReactNode] | false | null | undefined)[] }) {
  return (
    <dl className="facts">
      {of.map(
        (fact) =>
          fact && (
            <div key={fact[0]}>
              <dt>{fact[0]}</dt>
              <dd>{fact[1]}</dd>
            </div>
          ),
      )}
    </dl>
  )
}

/** The pages of a list: cursors of those before, so that one can go back. */
export function usePages() {
  const [cursors, setCursors] = useState<string[]>([])
  return {
    after: cursors.at(-1) ?? null,
    first: cursors.length === 0,
    next: (cursor: string) => setCursors([...cursors, cursor]),
    previous: () => setCursors(cursors.slice(0, -1)),
    start: () => setCursors([]),
  }
}

export function Pager({ pages, info }: { pages: ReturnType<typeof usePages>; info: { hasNextPage: boolean; endCursor: string | null } | undefined }) {
  if (pages.first && !info?.hasNextPage) return null
  return (
    <nav className="row pager" aria-label="Pages">
      <button type="button" disabled={pages.first} onClick={pages.previous}>
        ← Newer
      </button>
      <button type="button" disabled={!info?.hasNextPage || !info.endCursor} onClick={() => info?.endCursor && pages.next(info.endCursor)}>
        Older →
      </button>
    </nav>
  )
}
