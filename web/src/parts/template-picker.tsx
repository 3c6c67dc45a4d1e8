import { useEffect, useId, useRef, useState, type KeyboardEvent, type ReactNode } from 'react'
import { useRead } from '../api/read'
import { PickedTemplateDocument, PickTemplateDocument } from '../api/generated'
import { Field } from './parts'

export interface Picked {
  id: string
  name: string
}

/**
 * One of the account's templates, found by a part of its name. It is the combobox of the ARIA
 * Authoring Practices: arrows choose, Enter takes, Escape leaves things as they were.
 */
export function TemplatePicker({
  label,
  hint,
  errors = [],
  value,
  onChange,
  any,
  disabled,
}: {
  label: string
  hint?: ReactNode
  errors?: string[]
  /** The id of the one that is chosen, or ''. */
  value: string
  onChange: (template: Picked | undefined) => void
  /** The name of choosing none, where that means something. */
  any?: string
  disabled?: boolean
}) {
  const list = useId()
  const input = useRef<HTMLInputElement>(null)
  const [typed, setTyped] = useState<string>() // while one searches
  const [contains, setContains] = useState('')
  const [active, setActive] = useState(0)
  const open = typed !== undefined
  const [{ data: picked, fetching: naming }] = useRead({ query: PickedTemplateDocument, variables: { id: value }, pause: !value })
  const [{ data, fetching }] = useRead({ query: PickTemplateDocument, variables: { contains: contains || null }, pause: !open })
  useEffect(() => {
    const timer = setTimeout(() => setContains(typed?.trim() ?? ''), 200)
    return () => clearTimeout(timer)
  }, [typed])

  const chosen = value && picked?.template?.id === value ? picked.template : undefined
  const name = !value ? (any ?? '') : chosen ? chosen.name + (chosen.archivedAt ? ' (archived)' : '') : naming ? '…' : 'No such template'
  const found: (Picked & { note?: string })[] = (data?.templates.nodes ?? []).map((t) => ({ id: t.id, name: t.name, note: t.latestVersion ? `version ${t.latestVersion.number}` : 'never published' }))
  const options = any && !typed ? [{ id: '', name: any }, ...found] : found

  const close = () => setTyped(undefined)
  const take = (option: Picked | undefined) => {
    if (!option) return
    onChange(option.id ? option : undefined)
    close()
  }
  const begin = () => {
    if (open || disabled) return
    setActive(0)
    setTyped('')
  }
  const keys = (e: KeyboardEvent) => {
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      e.preventDefault()
      if (!open) return begin()
      setActive((i) => (i + (e.key === 'ArrowDown' ? 1 : options.length - 1)) % Math.max(1, options.length))
    } else if (e.key === 'Enter' && open) {
      e.preventDefault()
      take(options[active])
    } else if (e.key === 'Escape' && open) {
      e.stopPropagation()
      close()
    }
  }
  useEffect(() => {
    if (open) document.getElementById(`${list}-${active}`)?.scrollIntoView({ block: 'nearest' })
  }, [active, open])

  return (
    <Field label={label} hint={hint} errors={errors}>
      {(given) => (
        <div className="picker">
          <input
            {...given}
            ref={input}
            type="text"
            role="combobox"
            autoComplete="off"
            spellCheck={false}
            disabled={disabled}
            placeholder={open ? chosen?.name || 'Part of a name' : 'Choose a template'}
            value={typed ?? name}
            aria-expanded={open}
            aria-controls={list}
            aria-autocomplete="list"
            aria-activedescendant={open && options.length ? `${list}-${active}` : undefined}
            onFocus={(e) => e.currentTarget.select()} // what is typed takes the place of the name
            onClick={begin}
            onInput={(e) => {
              setTyped(e.currentTarget.value)
              setActive(0)
            }}
            onBlur={close}
            onKeyDown={keys}
          />
          <ul role="listbox" id={list} aria-label="Found" hidden={!open}>
            {open &&
              options.map((option, i) => (
                <li
                  key={option.id}
                  id={`${list}-${i}`}
                  role="option"
                  aria-selected={option.id === value}
                  className={i === active ? 'active' : undefined}
                  onMouseMove={() => setActive(i)}
                  onMouseDown={(e) => {
                    e.preventDefault() // or the field loses the focus, and the list goes before the click
                    take(option)
                  }}
                >
                  {option.name} {'note' in option && <span className="quiet">{option.note}</span>}
                </li>
              ))}
          </ul>
          {open && !options.length && (
            <p className="none" role="status">
              {fetching ? 'Searching…' : typed ? 'No template has this in its name.' : 'There are no templates yet.'}
            </p>
          )}
          {open && data?.templates.pageInfo.hasNextPage && <p className="hidden">There are more: type a part of the name.</p>}
        </div>
      )}
    </Field>
  )
}
