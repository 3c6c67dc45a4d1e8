import { useEffect, useRef, useState } from 'react'
import { send, type Problem } from '../api/client'
import { UpdateTemplateDocument, type TemplatePartsFragment } from '../api/generated'
import { about, Dialog, Field, Input, others, Problems, Select } from '../parts/parts'

const units = [
  ['never', 'never'],
  ['1', 'seconds'],
  ['60', 'minutes'],
  ['3600', 'hours'],
  ['86400', 'days'],
] as const
type Unit = (typeof units)[number][0]

/** Seconds in the largest unit that leaves a whole number. */
function split(seconds: number | null): { amount: string; unit: Unit } {
  if (seconds == null) return { amount: '30', unit: 'never' }
  const unit = (['86400', '3600', '60', '1'] as const).find((unit) => seconds % Number(unit) === 0)!
  return { amount: String(seconds / Number(unit)), unit }
}

/** What belongs to the template and not to its versions: it holds as soon as it is saved. */
export function Settings({ template, onSaved, onClose }: { template: TemplatePartsFragment; onSaved: (template: TemplatePartsFragment) => void; onClose: () => void }) {
  const [name, setName] = useState(template.name)
  const [description, setDescription] = useState(template.description ?? '')
  const [{ amount, unit }, setExpiry] = useState(() => split(template.expireAfter))
  const [problems, setProblems] = useState<Problem[]>([])
  const [busy, setBusy] = useState(false)

  const form = useRef<HTMLFormElement>(null)
  useEffect(() => form.current?.querySelector('input')?.focus(), [])

  const save = async (archived?: boolean) => {
    const expireAfter = unit === 'never' ? null : Math.round(Number(amount.replace(',', '.')) * Number(unit))
    if (Number.isNaN(expireAfter)) {
      setProblems([{ message: 'Give a number.', code: '', path: ['input', 'expireAfter'] }])
      return
    }
    setBusy(true)
    const input = archived === undefined ? { name, description: description.trim() || null, expireAfter } : { archived }
    const { payload, problems } = await send('updateTemplate', UpdateTemplateDocument, { id: template.id, input })
    setBusy(false)
    setProblems(problems)
    if (!payload?.template) return
    onSaved(payload.template)
    onClose()
  }

  return (
    <Dialog title="Template settings" onClose={onClose}>
      <form
        ref={form}
        onSubmit={(e) => {
          e.preventDefault()
          void save()
        }}
      >
        <Problems of={others(problems, ['input', 'name'], ['input', 'description'], ['input', 'expireAfter'])} />
        <Input label="Name" hint="Path templates can use it: {{ template_name }}." value={name} required errors={about(problems, 'input', 'name')} onChange={(e) => setName(e.currentTarget.value)} spellCheck />
        <Field label="Description" hint="For people. It is not printed." errors={about(problems, 'input', 'description')}>
          {(given) => <textarea rows={3} className="prose" value={description} onChange={(e) => setDescription(e.currentTarget.value)} {...given} />}
        </Field>
        <div className="expiry">
          <Select
            label="Documents expire"
            value={unit}
            options={units.map(([code, name]) => [code, code === 'never' ? name : `after so many ${name}`] as const)}
            onChange={(unit) => setExpiry({ amount, unit })}
          />
          {unit !== 'never' && <Input label={`Number of ${units.find(([code]) => code === unit)![1]}`} inputMode="decimal" value={amount} errors={about(problems, 'input', 'expireAfter')} onChange={(e) => setExpiry({ amount: e.currentTarget.value, unit })} />}
        </div>
        <p className="hint">At its expiry Platen’s own copy of a document and its data are deleted. Copies in your buckets stay.</p>
        <div className="row between">
          <button type="button" disabled={busy} onClick={() => void save(!template.archivedAt)}>
            {template.archivedAt ? 'Take out of the archive' : 'Move to the archive'}
          </button>
          <div className="row">
            <button type="button" onClick={onClose}>
              Cancel
            </button>
            <button type="submit" className="primary" disabled={busy}>
              Save settings
            </button>
          </div>
        </div>
        <p className="hint">
          {template.archivedAt ? 'It is in the archive: lists leave it out, and it takes no new documents.' : 'In the archive lists leave it out and it takes no new documents. It can still be edited, and taken out again.'}
        </p>
      </form>
    </Dialog>
  )
}
