// The filters of lists of documents. They are kept in the page's address, so that a list can be
// shared, and found again by going back.
import { useEffect, useMemo, useRef, useState } from 'react'
import { useSearchParams } from 'wouter'
import type { DocumentPartsFragment, DocumentState, SubmissionFilter } from '../api/generated'
import { Input, Select } from './parts'
import { TemplatePicker } from './template-picker'
import { useViewer } from './viewer'

const ranges = { hour: 3600, day: 86400, week: 7 * 86400, month: 30 * 86400 } as const

const states = [
  ['', 'Any'],
  ['PENDING', 'Pending'],
  ['PROCESSED', 'Processed'],
  ['FAILED,INVALID_DATA', 'Failed or invalid data'],
  ['FAILED', 'Failed'],
  ['INVALID_DATA', 'Invalid data'],
] as const

const names = ['state', 'test', 'template', 'time', 'from', 'until', 'key', 'value'] as const
type Name = (typeof names)[number]

// A value of metadata as people write it: numbers, true, false and null are meant as such, unless quoted.
function meant(text: string): unknown {
  try {
    const value = JSON.parse(text)
    return typeof value === 'object' && value !== null ? text : value
  } catch {
    return text
  }
}

// datetime-local has no zone: it is that of whoever looks.
const instant = (local: string) => {
  const at = new Date(local)
  return local && !isNaN(at.getTime()) ? at.toISOString() : undefined
}

/** The filters in the page's address: as the API takes them, and whether a document passes them. */
export function useFilters(kind: DocumentPartsFragment['__typename']) {
  const [params, setParams] = useSearchParams()
  const key = names.map((name) => params.get(name) ?? '').join('\n')
  const filter = useMemo(() => {
    const get = (name: Name) => params.get(name) ?? ''
    const known = get('state')
      .split(',')
      .filter((s) => s && states.some(([code]) => code === s)) as DocumentState[]
    const seconds = ranges[get('time') as keyof typeof ranges]
    const from = seconds ? new Date(Date.now() - seconds * 1000).toISOString() : get('time') === 'between' ? instant(get('from')) : undefined
    const until = get('time') === 'between' ? instant(get('until')) : undefined
    const found: SubmissionFilter = {}
    if (known.length) found.states = known
    if (get('test')) found.test = get('test') === 'true'
    if (kind === 'Submission' && get('template')) found.templateId = get('template')
    if (from || until) found.createdAt = { from, until }
    if (get('key')) found.metadata = { [get('key')]: meant(get('value')) }
    return found
  }, [key])
  const matches = (d: DocumentPartsFragment) =>
    d.__typename === kind &&
    (!filter.states || filter.states.includes(d.state)) &&
    (filter.test == null || filter.test === d.test) &&
    (!filter.templateId || (d.__typename === 'Submission' && d.template?.id === filter.templateId)) &&
    (!filter.createdAt?.from || d.createdAt >= filter.createdAt.from) &&
    (!filter.createdAt?.until || d.createdAt < filter.createdAt.until) &&
    Object.entries((filter.metadata ?? {}) as object).every(([name, value]) => JSON.stringify((d.metadata as Record<string, unknown>)[name]) === JSON.stringify(value))
  const set = (changes: Partial<Record<Name, string>>) =>
    setParams(
      (before) => {
        const next = new URLSearchParams(before)
        for (const [name, value] of Object.entries(changes)) value ? next.set(name, value) : next.delete(name)
        return next
      },
      { replace: true },
    )
  return {
    kind,
    key,
    filter,
    matches,
    get: (name: Name) => params.get(name) ?? '',
    set,
    any: Object.keys(filter).length > 0,
    clear: () => set(Object.fromEntries(names.map((name) => [name, '']))),
  }
}

export type Filters = ReturnType<typeof useFilters>

/** Their controls. */
export function FilterBar({ of }: { of: Filters }) {
  const { testOnly } = useViewer()
  const between = of.get('time') === 'between'
  return (
    <search className="filters" aria-label="Filters">
      <Select label="State" value={of.get('state')} options={of.kind === 'Submission' ? states : states.filter(([code]) => !code.includes('INVALID'))} onChange={(state) => of.set({ state })} />
      {!testOnly && (
        <Select
          label="Live or test"
          value={of.get('test')}
          options={[
            ['', 'Both'],
            ['false', 'Live'],
            ['true', 'Test'],
          ]}
          onChange={(test) => of.set({ test })}
        />
      )}
      {of.kind === 'Submission' && <TemplatePicker label="Template" any="Any template" value={of.get('template')} onChange={(template) => of.set({ template: template?.id ?? '' })} />}
      <Select
        label="Created"
        value={of.get('time')}
        options={[
          ['', 'At any time'],
          ['hour', 'In the last hour'],
          ['day', 'In the last 24 hours'],
          ['week', 'In the last 7 days'],
          ['month', 'In the last 30 days'],
          ['between', 'Between …'],
        ]}
        onChange={(time) => of.set({ time, from: '', until: '' })}
      />
      {between && <Input label="From" type="datetime-local" value={of.get('from')} onChange={(e) => of.set({ from: e.currentTarget.value })} />}
      {between && <Input label="Until" type="datetime-local" value={of.get('until')} onChange={(e) => of.set({ until: e.currentTarget.value })} />}
      <Slow label="Metadata key" placeholder="customer" value={of.get('key')} onChange={(key) => of.set({ key })} />
      {of.get('key') && <Slow label="Equals" placeholder={'acme, 7, "7", true'} value={of.get('value')} onChange={(value) => of.set({ value })} />}
      {of.any && (
        <button type="button" onClick={of.clear}>
          Clear filters
        </button>
      )}
    </search>
  )
}

// Text that takes effect once the typing pauses.
function Slow({ label, value, placeholder, onChange }: { label: string; value: string; placeholder: string; onChange: (value: string) => void }) {
  const [text, setText] = useState(value)
  const told = useRef(value)
  useEffect(() => {
    if (value !== told.current) setText((told.current = value))
  }, [value])
  const tell = (text: string) => {
    if (text !== told.current) onChange((told.current = text))
  }
  useEffect(() => {
    const timer = setTimeout(() => tell(text), 400)
    return () => clearTimeout(timer)
  }, [text])
  return <Input label={label} placeholder={placeholder} value={text} onInput={(e) => setText(e.currentTarget.value)} onBlur={() => tell(text)} onKeyDown={(e) => e.key === 'Enter' && tell(text)} />
}
