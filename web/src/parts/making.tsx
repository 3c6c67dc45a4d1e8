// What the forms share that make documents.
import { useId, useState, type ReactNode } from 'react'
import type { Problem } from '../api/client'
import { parseExactly } from '../api/json'
import { about, Field, Input, Select } from './parts'
import { noPresigned, PresignedFields, presignedInput, type Presigned } from './presigned'
import { useViewer } from './viewer'
import './making.css'

/** The value of JSON that was typed, or what is wrong with it. Nothing typed is no value. */
export function parsed(text: string): { value?: unknown; error?: string } {
  if (!text.trim()) return {}
  try {
    return { value: parseExactly(text) }
  } catch (e) {
    const message = e instanceof Error ? e.message : String(e)
    return { error: e instanceof SyntaxError ? `This is not JSON: ${message}.` : `${message}.` }
  }
}

/** What is wrong with JSON that has to be an object. */
export function objectError(text: string): string | undefined {
  const { value, error } = parsed(text)
  if (error || value === undefined) return error
  return typeof value !== 'object' || value === null || Array.isArray(value) ? 'This has to be an object: {"name": "value"}.' : undefined
}

/** JSON to type. Mistakes are told once one leaves it. */
export function JsonInput({
  label,
  hint,
  value,
  onChange,
  errors = [],
  rows = 8,
  object,
}: {
  label: string
  hint?: ReactNode
  value: string
  onChange: (value: string) => void
  errors?: string[]
  rows?: number
  /** Only objects will do. */
  object?: boolean
}) {
  const [left, setLeft] = useState(false)
  const error = object ? objectError(value) : parsed(value).error
  const shown = [...new Set(left && error ? [error, ...errors] : errors)]
  return (
    <Field label={label} hint={hint} errors={shown}>
      {(given) => (
        <div className="json-input">
          <textarea rows={rows} spellCheck={false} autoComplete="off" value={value} onInput={(e) => onChange(e.currentTarget.value)} onFocus={() => setLeft(false)} onBlur={() => setLeft(true)} {...given} />
          {!error && value.trim() && (
            <button type="button" className="small" aria-label={`Format ${label.toLowerCase()}`} onClick={() => onChange(JSON.stringify(parsed(value).value, null, 2))}>
              Format
            </button>
          )}
        </div>
      )}
    </Field>
  )
}

/** One of a few, all in sight. */
export function Choice<T extends string>({ label, value, options, onChange, hint }: { label: string; value: T; options: readonly (readonly [T, string, disabled?: boolean])[]; onChange: (value: T) => void; hint?: ReactNode }) {
  const id = useId()
  return (
    <fieldset className="choice" aria-describedby={hint ? id + '-hint' : undefined}>
      <legend>{label}</legend>
      <div className="options">
        {options.map(([code, name, disabled]) => (
          <label key={code}>
            <input type="radio" name={id} checked={value === code} disabled={disabled} onChange={() => onChange(code)} />
            <span>{name}</span>
          </label>
        ))}
      </div>
      {hint && (
        <div id={id + '-hint'} className="hint">
          {hint}
        </div>
      )}
    </fieldset>
  )
}

/** Live or test. why: why it can only be a test document. */
export function LiveOrTest({ value, onChange, why }: { value: boolean; onChange: (test: boolean) => void; why?: string }) {
  const { testOnly } = useViewer()
  const reason = testOnly ? 'This API token makes test documents only.' : why
  return (
    <Choice
      label="Live or test"
      value={reason || value ? 'test' : 'live'}
      options={[
        ['live', 'Live', !!reason],
        ['test', 'Test'],
      ]}
      onChange={(chosen) => onChange(chosen === 'test')}
      hint={reason ?? 'Test documents carry a watermark; integrations for live documents leave them alone.'}
    />
  )
}

/** Takes whoever sent a form to its first mistake. */
export function toFirstMistake(form: HTMLFormElement | null) {
  requestAnimationFrame(() => form?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus())
}

const day = 86400

export interface More {
  expiry: string
  days: string
  password: string
  presigned: Presigned
}

export const noMore: More = { expiry: '', days: '', password: '', presigned: noPresigned }

/** As the API takes them. */
export function moreInput({ expiry, days, password, presigned }: More) {
  return {
    // null means kept, whatever the template says; absent, as the template says.
    expiresIn: expiry === '' ? undefined : expiry === 'kept' ? null : expiry === 'days' ? Math.round(Number(days) * day) : Number(expiry),
    password: password || undefined,
    presignedUpload: presignedInput(presigned),
  }
}

/** When it expires. byTemplate: what the template says, where there is one. */
export function Expiry({ value, onChange, errors, byTemplate }: { value: Pick<More, 'expiry' | 'days'>; onChange: (value: Pick<More, 'expiry' | 'days'>) => void; errors: string[]; byTemplate?: boolean }) {
  return (
    <>
      <Select
        label="Expires"
        value={value.expiry}
        onChange={(expiry) => onChange({ ...value, expiry })}
        errors={value.expiry === 'days' ? [] : errors}
        hint="Platen then deletes its copy and the data. Copies in your buckets stay."
        options={[
          ['', byTemplate ? 'As the template says' : 'Never'],
          ...(byTemplate ? ([['kept', 'Never']] as const) : []),
          ['3600', 'After an hour'],
          [String(day), 'After a day'],
          [String(7 * day), 'After 7 days'],
          [String(30 * day), 'After 30 days'],
          [String(365 * day), 'After a year'],
          ['days', 'After so many days …'],
        ]}
      />
      {value.expiry === 'days' && <Input label="Days" type="number" min="0.01" max="3650" step="any" required value={value.days} onInput={(e) => onChange({ ...value, days: e.currentTarget.value })} errors={errors} />}
    </>
  )
}

/** What is seldom needed, folded. It opens by itself where something in it was refused. */
export function MoreFields({ value, onChange, problems, byTemplate }: { value: More; onChange: (value: More) => void; problems: Problem[]; byTemplate?: boolean }) {
  const at = (name: string) => about(problems, 'input', name)
  const refused = ['expiresIn', 'password', 'presignedUpload'].some((name) => at(name).length)
  const [open, setOpen] = useState(false)
  return (
    <details className="more" open={open || refused} onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>More: expiry, password, presigned URL</summary>
      <div className="stack">
        <Expiry value={value} onChange={(expiry) => onChange({ ...value, ...expiry })} errors={at('expiresIn')} byTemplate={byTemplate} />
        <Input
          label="Password"
          type="password"
          autoComplete="new-password"
          value={value.password}
          onInput={(e) => onChange({ ...value, password: e.currentTarget.value })}
          errors={at('password')}
          hint="Whoever opens the PDF needs it. It is never shown again."
        />
        <PresignedFields value={value.presigned} onChange={(presigned) => onChange({ ...value, presigned })} problems={problems} at={['input', 'presignedUpload']} />
      </div>
    </details>
  )
}
