// The differences of two texts. Lazily loaded.
import { MergeView, unifiedMergeView } from '@codemirror/merge'
import { EditorState } from '@codemirror/state'
import { lineNumbers } from '@codemirror/view'
import { EditorView } from 'codemirror'
import { useEffect, useRef } from 'react'
import { appearance, languageOf, type Language } from '../parts/editor'

export default function Compare({ before, after, names, language, unified }: { before: string; after: string; names: [string, string]; language: Language; unified: boolean }) {
  const at = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const read = (label: string) => [
      lineNumbers(),
      EditorView.lineWrapping,
      appearance,
      languageOf(language),
      EditorState.readOnly.of(true),
      EditorView.editable.of(false),
      EditorView.contentAttributes.of({ 'aria-label': label, 'aria-readonly': 'true', tabindex: '0' }),
    ]
    const collapseUnchanged = { margin: 3, minSize: 6 }
    const view = unified
      ? new EditorView({
          parent: at.current!,
          doc: after,
          extensions: [read(`${names[1]}, with what it changes of ${names[0]}`), unifiedMergeView({ original: before, mergeControls: false, collapseUnchanged })],
        })
      : new MergeView({ parent: at.current!, a: { doc: before, extensions: read(names[0]) }, b: { doc: after, extensions: read(names[1]) }, collapseUnchanged })
    return () => view.destroy()
  }, [before, after, ...names, language, unified])
  return <div className="compare" ref={at} />
}
