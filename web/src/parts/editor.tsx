// CodeMirror. Only lazily loaded screens may import this: it is larger than all else together.
import type { CompletionContext, CompletionResult } from '@codemirror/autocomplete'
import { indentLess, indentMore } from '@codemirror/commands'
import { css } from '@codemirror/lang-css'
import { html, htmlLanguage } from '@codemirror/lang-html'
import { json } from '@codemirror/lang-json'
import { HighlightStyle, syntaxHighlighting } from '@codemirror/language'
import { lintGutter, setDiagnostics, type Diagnostic } from '@codemirror/lint'
import { EditorState, type Extension, type Text } from '@codemirror/state'
import { Decoration, keymap, MatchDecorator, ViewPlugin, type DecorationSet, type ViewUpdate } from '@codemirror/view'
import { tags as t } from '@lezer/highlight'
import { basicSetup, EditorView } from 'codemirror'
import { useEffect, useRef } from 'react'

export type Language = 'html' | 'css' | 'json' | 'text'

/** A mark in an editor's text. Lines and columns count from 1, columns in characters. */
export interface Mark {
  line?: number
  column?: number
  message: string
  warning?: boolean
}

const theme = EditorView.theme({
  '&': { height: '100%', backgroundColor: 'var(--box)', color: 'var(--text)', fontSize: '13.5px' },
  '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '-2px' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.55' },
  '.cm-content': { caretColor: 'var(--text)', paddingBottom: '40px' },
  '.cm-cursor, .cm-dropCursor': { borderLeftColor: 'var(--text)', borderLeftWidth: '2px' },
  '.cm-gutters': { backgroundColor: 'var(--sunken)', color: 'var(--quiet)', borderRight: '1px solid var(--line)' },
  '.cm-activeLine': { backgroundColor: 'color-mix(in srgb, var(--sunken) 55%, transparent)' },
  '.cm-activeLineGutter': { backgroundColor: 'var(--line)', color: 'var(--text)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground, .cm-content ::selection': {
    backgroundColor: 'light-dark(#c9d8fb, #2c4583)',
  },
  '.cm-selectionMatch': { backgroundColor: 'light-dark(#e3ebfd, #263455)' },
  '.cm-searchMatch': { backgroundColor: 'light-dark(#ffe9a8, #574713)', outline: '1px solid var(--edge)' },
  '.cm-searchMatch-selected': { backgroundColor: 'light-dark(#ffcf5c, #7d6512)' },
  '&.cm-focused .cm-matchingBracket': { backgroundColor: 'light-dark(#d6f0de, #1f4a2e)', outline: '1px solid var(--good)' },
  '&.cm-focused .cm-nonmatchingBracket': { backgroundColor: 'var(--bad-fill)', outline: '1px solid var(--bad)' },
  '.cm-foldPlaceholder': { backgroundColor: 'var(--sunken)', color: 'var(--quiet)', border: '1px solid var(--line)' },
  '.cm-panels': { backgroundColor: 'var(--sunken)', color: 'var(--text)', borderColor: 'var(--line)' },
  '.cm-panels.cm-panels-bottom': { borderTop: '1px solid var(--line)' },
  '.cm-panel.cm-search': { padding: '8px 32px 8px 8px', display: 'flex', flexWrap: 'wrap', gap: '6px', alignItems: 'center' },
  '.cm-panel.cm-search br': { display: 'none' },
  '.cm-panel.cm-search input, .cm-panel.cm-search button, .cm-panel.cm-search label': { margin: '0', fontSize: '0.87rem' },
  '.cm-panel.cm-search input[type=text], .cm-textfield': { backgroundColor: 'var(--box)', border: '1px solid var(--edge)', borderRadius: '6px', width: '200px', minHeight: '28px', padding: '2px 8px' },
  '.cm-button': { backgroundColor: 'var(--box)', backgroundImage: 'none', border: '1px solid var(--edge)', borderRadius: '6px', color: 'var(--text)', minHeight: '28px' },
  '.cm-panel.cm-search [name=close]': { fontSize: '18px', color: 'var(--text)', top: '6px', right: '8px' },
  '.cm-tooltip': { backgroundColor: 'var(--box)', color: 'var(--text)', border: '1px solid var(--line)', borderRadius: '6px', boxShadow: '0 4px 16px #0003', overflow: 'hidden' },
  '.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: 'var(--accent-fill)', color: '#fff' },
  '.cm-completionMatchedText': { textDecoration: 'none', fontWeight: '700' },
  '.cm-diagnostic': { padding: '6px 10px', maxWidth: '480px', whiteSpace: 'pre-wrap' },
  '.cm-collapsedLines': { background: 'var(--sunken)', color: 'var(--quiet)', padding: '4px 8px' },
  '&.cm-merge-a .cm-changedLine, .cm-deletedChunk': { backgroundColor: 'var(--bad-fill)' },
  '&.cm-merge-b .cm-changedLine, .cm-inlineChangedLine': { backgroundColor: 'var(--good-fill)' },
  '&.cm-merge-a .cm-changedText, .cm-deletedChunk .cm-deletedText': { background: 'light-dark(#f6c4c0, #5a2420)' },
  '&.cm-merge-b .cm-changedText': { background: 'light-dark(#b4e3c2, #1b4526)' },
  '.cm-liquid': { backgroundColor: 'light-dark(#f3eefc, #2b2440)', borderRadius: '3px' },
  '.cm-liquid, .cm-liquid *': { color: 'light-dark(#6b2fb5, #cfa8ff)' },
})

const colours = HighlightStyle.define([
  { tag: [t.tagName, t.keyword, t.definitionKeyword], color: 'light-dark(#0b5a8f, #7cc4f5)' },
  { tag: [t.attributeName, t.propertyName], color: 'light-dark(#8a4600, #f0b878)' },
  { tag: [t.attributeValue, t.string], color: 'light-dark(#146c34, #8fd9a8)' },
  { tag: [t.number, t.bool, t.null, t.unit, t.color, t.atom], color: 'light-dark(#a3164f, #ff9dbd)' },
  { tag: [t.className, t.constant(t.className), t.labelName, t.typeName], color: 'light-dark(#0b5a8f, #7cc4f5)' },
  { tag: [t.comment, t.meta, t.documentMeta, t.processingInstruction], color: 'var(--quiet)', fontStyle: 'italic' },
  { tag: [t.angleBracket, t.bracket, t.punctuation, t.separator, t.definitionOperator], color: 'var(--quiet)' },
  { tag: t.heading, fontWeight: '600' },
  { tag: t.invalid, color: 'var(--bad)' },
])

/** How all editors look, in both themes. */
export const appearance: Extension = [theme, syntaxHighlighting(colours)]

// HTML knows nothing of Liquid: what is between the brackets is shown for what it is.
const liquidMarks = new MatchDecorator({ regexp: /\{\{.*?\}\}|\{%.*?%\}/g, decoration: Decoration.mark({ class: 'cm-liquid' }) })
const liquid = ViewPlugin.fromClass(
  class {
    decorations: DecorationSet
    constructor(view: EditorView) {
      this.decorations = liquidMarks.createDeco(view)
    }
    update(update: ViewUpdate) {
      this.decorations = liquidMarks.updateDeco(update, this.decorations)
    }
  },
  { decorations: (plugin) => plugin.decorations },
)

const words = (text: string, type: string) => text.split(' ').map((label) => ({ label, type }))
// docs/templates.md lists them.
const liquidTags = words('if elsif else endif unless endunless case when endcase for endfor break continue cycle tablerow endtablerow assign capture endcapture echo liquid comment endcomment raw endraw', 'keyword')
const liquidFilters = words(
  'abs append at_least at_most capitalize ceil compact concat date default divided_by downcase escape escape_once first floor handle handleize inspect join json last lstrip map minus modulo newline_to_br pluralize plus prepend remove remove_first remove_last replace replace_first replace_last reverse round rstrip size slice sort sort_natural split strip strip_html strip_newlines sum times truncate truncatewords uniq upcase url_decode url_encode where',
  'function',
)
const given = words('data metadata submission_id template_id template_name template_version forloop', 'variable')

/** Completes tags, filters and the names of the data, those of the elements of lists within their loops too. */
function completeLiquid(data: () => unknown) {
  return (context: CompletionContext): CompletionResult | null => {
    const before = context.state.sliceDoc(Math.max(0, context.pos - 400), context.pos)
    const open = Math.max(before.lastIndexOf('{{'), before.lastIndexOf('{%'))
    if (open < 0 || /[%}]\}/.test(before.slice(open + 2))) return null
    const inside = before.slice(open + 2)
    const word = /[\w.]*$/.exec(inside)![0]
    const rest = inside.slice(0, inside.length - word.length)
    if (!word && !context.explicit && !/\|\s*$/.test(rest)) return null
    if (/\|\s*$/.test(rest)) return { from: context.pos - word.length, options: liquidFilters, validFor: /^\w*$/ }
    if (before[open + 1] === '%' && /^-?\s*$/.test(rest)) return { from: context.pos - word.length, options: liquidTags, validFor: /^\w*$/ }
    const steps = word.split('.')
    const last = steps.pop()!
    const scope = scopeAt(context.state.sliceDoc(0, context.pos - inside.length), data())
    const names = steps.reduce<unknown>((value, step) => (step === 'data' && value === scope ? data() : field(value, step)), scope)
    const options = [...(isObject(names) ? Object.keys(names).filter((key) => /^\w+$/.test(key)).map((label) => ({ label, type: 'property' })) : []), ...(steps.length ? [] : given)]
    return options.length ? { from: context.pos - last.length, options, validFor: /^\w*$/ } : null
  }
}
const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)
const field = (value: unknown, key: string) => (isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined)

// The names that hold at the end of a text: those of the data, and of the loops that are still open.
function scopeAt(text: string, data: unknown): Record<string, unknown> {
  const scopes = [isObject(data) ? data : {}]
  for (const [, name, path] of text.matchAll(/\{%-?\s*(?:for\s+(\w+)\s+in\s+([\w.]+)|endfor\b)/g)) {
    if (!name) {
      if (scopes.length > 1) scopes.pop()
      continue
    }
    const scope = scopes.at(-1)!
    const list = path!.split('.').reduce<unknown>((value, step) => (step === 'data' && value === scope ? data : field(value, step)), scope)
    scopes.push({ ...scope, [name]: Array.isArray(list) ? Object.assign({}, ...list.filter(isObject)) : undefined })
  }
  return scopes.at(-1)!
}

/** The highlighting of a language. */
export function languageOf(language: Language, data: () => unknown = () => null): Extension {
  if (language === 'css') return css()
  if (language === 'json') return json()
  if (language === 'html') return [html(), liquid, htmlLanguage.data.of({ autocomplete: completeLiquid(data) })]
  return []
}

function offsetOf(doc: Text, mark: { line?: number; column?: number }): { from: number; to: number } {
  const line = doc.line(Math.min(Math.max(1, mark.line ?? 1), doc.lines))
  const characters = [...line.text]
  const from = line.from + characters.slice(0, (mark.column ?? 1) - 1).join('').length
  // The word that begins there, so that there is something to see.
  const length = /^(\{[{%]-?|"[^"]*"?|[\w.-]+|\S)/.exec(doc.sliceString(from, line.to))?.[0].length ?? 0
  return { from, to: from + length }
}

/** Where an editor is to go: a new object goes there anew. */
export interface Jump {
  line?: number
  column?: number
}

/** A text with its language's help. Escape, then Tab leaves it. */
export function Editor({
  label,
  language,
  value,
  onChange,
  marks,
  jump,
  readOnly = false,
  describedBy,
  data,
}: {
  label: string
  language: Language
  value: string
  onChange: (value: string) => void
  marks: Mark[]
  jump?: Jump
  readOnly?: boolean
  describedBy?: string
  /** What names are completed from. */
  data?: () => unknown
}) {
  const at = useRef<HTMLDivElement>(null)
  const view = useRef<EditorView>(undefined)
  const latest = useRef({ onChange, data, value })
  const told = useRef<string[]>([])
  const replacing = useRef(false)
  latest.current = { onChange, data, value }

  useEffect(() => {
    const editor = new EditorView({
      parent: at.current!,
      state: EditorState.create({
        doc: latest.current.value,
        extensions: [
          basicSetup,
          lintGutter(),
          keymap.of([{ key: 'Tab', run: indentMore, shift: indentLess }]),
          EditorState.tabSize.of(2),
          EditorView.lineWrapping,
          appearance,
          languageOf(language, () => latest.current.data?.()),
          EditorState.readOnly.of(readOnly),
          EditorView.contentAttributes.of({ 'aria-label': label, tabindex: '0', ...(describedBy && { 'aria-describedby': describedBy }), ...(readOnly && { 'aria-readonly': 'true' }) }),
          EditorView.updateListener.of((update) => {
            if (!update.docChanged || replacing.current) return
            const text = update.state.doc.toString()
            told.current.push(text)
            latest.current.onChange(text)
          }),
        ],
      }),
    })
    view.current = editor
    told.current = []
    return () => editor.destroy()
  }, [label, language, readOnly, describedBy])

  // A text that comes from elsewhere, of a version that was restored, takes the place of what is
  // there. One that this editor told itself comes back later, when people have typed on already.
  useEffect(() => {
    const own = told.current.lastIndexOf(value)
    if (own >= 0) return void told.current.splice(0, own + 1)
    if (!view.current || value === view.current.state.doc.toString()) return
    replacing.current = true
    view.current.dispatch({ changes: { from: 0, to: view.current.state.doc.length, insert: value } })
    replacing.current = false
    told.current = []
  }, [value])

  const shown = JSON.stringify(marks)
  useEffect(() => {
    if (!view.current) return
    const { state } = view.current
    const diagnostics = marks.map((mark): Diagnostic => ({ ...offsetOf(state.doc, mark), severity: mark.warning ? 'warning' : 'error', message: mark.message }))
    view.current.dispatch(setDiagnostics(state, diagnostics))
  }, [shown, label, language, readOnly])

  useEffect(() => {
    if (!jump || !view.current) return
    const { from } = offsetOf(view.current.state.doc, jump)
    view.current.dispatch({ selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: 'center' }) })
    view.current.focus()
  }, [jump])

  return <div className="editor" ref={at} />
}
