import { useEffect, useRef, useState } from 'react'
import type { DocumentState } from '../api/generated'
import { count } from './parts'

// Screen readers hear what happened in this time as one sentence.
const breath = 2000

/** Says a text to screen readers, in its own time. */
export function Announce({ text }: { text: string }) {
  return (
    <p role="status" className="hidden">
      {text}
    </p>
  )
}

/** Says the latest of the texts that come, at most one in a breath; the first one is known already. */
export function useCalm(text: string) {
  const [said, setSaid] = useState('')
  const first = useRef<string>(undefined)
  useEffect(() => {
    first.current ??= text
    if (text === first.current && !said) return
    const timer = setTimeout(() => setSaid(text), breath)
    return () => clearTimeout(timer)
  }, [text])
  return said
}

/** Which documents of a list came since it was first shown, and a sentence about them. key: what the list is of. */
export function useArrivals(documents: { id: string; state: DocumentState }[] | undefined, key: string, noun: string) {
  const seen = useRef<{ key: string; states: Map<string, DocumentState> }>(undefined)
  const waiting = useRef({ arrived: 0, failed: 0, timer: undefined as ReturnType<typeof setTimeout> | undefined })
  const fresh = useRef(new Set<string>())
  const [said, setSaid] = useState('')
  useEffect(() => () => clearTimeout(waiting.current.timer), [])

  if (documents && seen.current?.key !== key) {
    seen.current = { key, states: new Map(documents.map((d) => [d.id, d.state])) }
    fresh.current = new Set()
  } else if (documents && seen.current) {
    const now = waiting.current
    const { states } = seen.current
    for (const d of documents) {
      const before = states.get(d.id)
      if (before === d.state) continue
      states.set(d.id, d.state)
      if (!before) {
        fresh.current.add(d.id)
        now.arrived++
      }
      if (d.state === 'FAILED' || d.state === 'INVALID_DATA') now.failed++
    }
    if (now.arrived + now.failed > 0)
      now.timer ??= setTimeout(() => {
        const parts = [now.arrived && count(now.arrived, `new ${noun}`), now.failed && `${now.failed} failed`].filter(Boolean)
        waiting.current = { arrived: 0, failed: 0, timer: undefined }
        setSaid(parts.join(', '))
      }, breath)
  }
  return { fresh: fresh.current as ReadonlySet<string>, said }
}
