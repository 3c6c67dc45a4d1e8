// A template's content as it is edited: texts, until they are sent.
import type { Problem } from '../api/client'
import type { Media, Orientation, PageSettingsInput, PaperFormat, PreviewTemplateMutation, TemplateContentInput, TemplateContentPartsFragment } from '../api/generated'
import { lossyNumber, placeOfPointer, readJson, type Place } from './template-json'

export const parts = ['html', 'css', 'headerHtml', 'footerHtml', 'sampleData', 'schema', 'page'] as const
export type Part = (typeof parts)[number]
export type Source = Exclude<Part, 'page'>

export const partNames: Record<Part, string> = {
  html: 'HTML',
  css: 'CSS',
  headerHtml: 'Header',
  footerHtml: 'Footer',
  sampleData: 'Sample data',
  schema: 'Schema',
  page: 'Page settings',
}

export interface Page {
  paper: PaperFormat | 'CUSTOM'
  width: string
  height: string
  orientation: Orientation
  marginTop: string
  marginRight: string
  marginBottom: string
  marginLeft: string
  scale: string
  printBackground: boolean
  preferCssPageSize: boolean
  pageRanges: string
  outline: boolean
  tagged: boolean
  media: Media
  javaScript: boolean
  network: boolean
  networkIdle: boolean
  selector: string
  expression: string
  timeout: string
}

export type Draft = Record<Source, string> & { page: Page }

/** Something that is wrong, and where. */
export interface Mistake extends Partial<Place> {
  part?: Part
  /** Of the page settings. */
  field?: string
  message: string
  /** A warning does not stand in the way. */
  warning?: boolean
}

// The editor knows one kind of line end only.
const lines = (text: string | null) => (text ?? '').replace(/\r\n?/g, '\n')
const json = (value: unknown) => (value == null ? '' : JSON.stringify(value, null, 2))

/** What the API has, as texts. */
export function draftOf(content: TemplateContentPartsFragment): Draft {
  const p = content.page
  return {
    html: lines(content.html),
    css: lines(content.css),
    headerHtml: lines(content.headerHtml),
    footerHtml: lines(content.footerHtml),
    sampleData: json(content.sampleData),
    schema: json(content.schema),
    page: {
      paper: p.format ?? 'CUSTOM',
      width: p.width ?? '',
      height: p.height ?? '',
      orientation: p.orientation,
      marginTop: p.marginTop,
      marginRight: p.marginRight,
      marginBottom: p.marginBottom,
      marginLeft: p.marginLeft,
      scale: String(p.scale),
      printBackground: p.printBackground,
      preferCssPageSize: p.preferCssPageSize,
      pageRanges: p.pageRanges ?? '',
      outline: p.outline,
      tagged: p.tagged,
      media: p.media,
      javaScript: p.javaScript,
      network: p.network,
      networkIdle: p.waitFor?.networkIdle ?? false,
      selector: p.waitFor?.selector ?? '',
      expression: p.waitFor?.expression ?? '',
      timeout: String(p.timeout),
    },
  }
}

/** The parts in which two drafts say different things. */
export function changedParts(a: Draft, b: Draft): Part[] {
  return parts.filter((part) => {
    if (part === 'page') return Object.keys(a.page).some((key) => a.page[key as keyof Page] !== b.page[key as keyof Page])
    return a[part] !== b[part]
  })
}

/** Those of them that differ in more than the layout of their JSON. */
const differing = (a: Draft, b: Draft) =>
  changedParts(a, b).filter((part) => (part !== 'sampleData' && part !== 'schema') || JSON.stringify(readJson(a[part])) !== JSON.stringify(readJson(b[part])))

/** Whether two drafts mean the same. */
export const sameContent = (a: Draft, b: Draft) => differing(a, b).length === 0

/** Both what is typed here and what was saved elsewhere since; undefined where both changed the same part. */
export function merged(mine: Draft, saved: Draft, theirs: Draft): Draft | undefined {
  const own = differing(mine, saved)
  const clash = differing(theirs, saved).some((part) => own.includes(part) && differing(mine, theirs).includes(part))
  return clash ? undefined : ({ ...theirs, ...Object.fromEntries(own.map((part) => [part, mine[part]])) } as Draft)
}

const orNull = (text: string) => text.trim() || null
const asNumber = (text: string) => (text.trim() ? Number(text.trim().replace(',', '.')) : null)

function pageInput(p: Page): PageSettingsInput {
  const custom = p.paper === 'CUSTOM'
  return {
    format: p.paper === 'CUSTOM' ? null : p.paper,
    width: custom ? orNull(p.width) : null,
    height: custom ? orNull(p.height) : null,
    orientation: p.orientation,
    marginTop: orNull(p.marginTop),
    marginRight: orNull(p.marginRight),
    marginBottom: orNull(p.marginBottom),
    marginLeft: orNull(p.marginLeft),
    scale: asNumber(p.scale),
    printBackground: p.printBackground,
    preferCssPageSize: p.preferCssPageSize,
    pageRanges: orNull(p.pageRanges),
    outline: p.outline,
    tagged: p.tagged,
    media: p.media,
    javaScript: p.javaScript,
    network: p.network,
    waitFor: p.networkIdle || p.selector.trim() || p.expression.trim() ? { networkIdle: p.networkIdle, selector: orNull(p.selector), expression: orNull(p.expression) } : null,
    timeout: asNumber(p.timeout),
  }
}

/** What to send, and what cannot be sent because it is no JSON or no number. */
export function contentOf(draft: Draft): { content: TemplateContentInput; mistakes: Mistake[] } {
  const mistakes: Mistake[] = []
  const read = (part: 'sampleData' | 'schema') => {
    const { value, mistake } = readJson(draft[part])
    if (mistake) mistakes.push({ part, ...mistake })
    return value
  }
  const page = pageInput(draft.page)
  if (Number.isNaN(page.scale)) mistakes.push({ part: 'page', field: 'scale', message: 'The scale is a number from 0.1 to 2.' })
  if (page.timeout != null && !Number.isInteger(page.timeout)) mistakes.push({ part: 'page', field: 'timeout', message: 'The timeout is a whole number of seconds, from 1 to 120.' })
  if (draft.page.paper === 'CUSTOM')
    for (const field of ['width', 'height'] as const) if (!page[field]) mistakes.push({ part: 'page', field, message: `Give the paper's ${field}, such as 210mm, or choose a size by name.` })
  const content = { html: draft.html, css: orEmpty(draft.css), headerHtml: orEmpty(draft.headerHtml), footerHtml: orEmpty(draft.footerHtml), page, schema: read('schema'), sampleData: read('sampleData') }
  return { content, mistakes }
}
const orEmpty = (text: string) => (text.trim() ? text : null)

// In pixels, of 96 to the inch.
const inches = { in: 96, cm: 96 / 2.54, mm: 96 / 25.4, q: 96 / 101.6, pt: 96 / 72, pc: 16, px: 1 }
const pixels = (length: string) => {
  const [, n, unit = 'px'] = /^\s*([\d.]+)\s*(in|cm|mm|q|pt|pc|px)?\s*$/i.exec(length) ?? []
  return Number(n) * inches[unit.toLowerCase() as keyof typeof inches]
}
const sizes: Record<PaperFormat, [string, string]> = {
  LETTER: ['8.5in', '11in'],
  LEGAL: ['8.5in', '14in'],
  TABLOID: ['11in', '17in'],
  LEDGER: ['17in', '11in'],
  A0: ['841mm', '1189mm'],
  A1: ['594mm', '841mm'],
  A2: ['420mm', '594mm'],
  A3: ['297mm', '420mm'],
  A4: ['210mm', '297mm'],
  A5: ['148mm', '210mm'],
  A6: ['105mm', '148mm'],
}

// imageWidth is that of the window of which an image is taken.
const imageWidth = 1280

/** Styles that lay an image's page out as wide as the paper, within its margins. */
export function paperStyle(page: Page): string {
  const sides = page.paper === 'CUSTOM' ? [page.width, page.height] : sizes[page.paper]
  const width = pixels(sides[page.orientation === 'LANDSCAPE' ? 1 : 0]!)
  if (!(width > 0)) return ''
  const margins = [page.marginTop, page.marginRight, page.marginBottom, page.marginLeft].map((margin) => margin.trim() || '0.4in')
  return `html { zoom: ${imageWidth / width}; box-sizing: border-box; padding: ${margins.join(' ')} }`
}

/** What is no mistake, but will surprise. */
export function warningsOf(draft: Draft): Mistake[] {
  const lossy = lossyNumber(draft.sampleData)
  return lossy ? [{ part: 'sampleData', line: lossy.line, column: lossy.column, warning: true, message: `${lossy.digits.slice(0, 40)} has more digits than a browser keeps of a number: write it in "quotes".` }] : []
}

/** Where an argument's or a failure's path leads in the editor. */
function mistakeAt(path: readonly string[], rest: Pick<Mistake, 'message' | 'line' | 'column'>): Mistake {
  const at = path.findIndex((step) => parts.includes(step as Part))
  return at < 0 ? rest : { ...rest, part: path[at] as Part, field: path[at + 1] }
}

/** Of some problems those that have a place in the editor, and the others. */
export function placed(problems: Problem[]): { mistakes: Mistake[]; others: Problem[] } {
  const mistakes: Mistake[] = []
  const others: Problem[] = []
  for (const problem of problems) {
    const mistake = mistakeAt(problem.path, { message: problem.message, line: problem.line, column: problem.column })
    if (mistake.part) mistakes.push(mistake)
    else others.push(problem)
  }
  return { mistakes, others }
}

type Failure = NonNullable<PreviewTemplateMutation['previewTemplate']['failure']>

/** A render's failure as mistakes: each violation of the schema is one, in the sample data. */
export function mistakesOf(failure: Failure, draft: Draft): Mistake[] {
  if (failure.dataErrors.length)
    return failure.dataErrors.map((e) => ({ part: 'sampleData', ...placeOfPointer(draft.sampleData, e.pointer), message: `${e.pointer || 'The data'} ${e.message} (by the schema).` }))
  return [mistakeAt(failure.path ?? [], { message: failure.message, line: failure.line ?? undefined, column: failure.column ?? undefined })]
}

/** The page settings as lines, to compare. */
export function pageText(page: Page): string {
  return Object.entries(page)
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}: ${value}`)
    .join('\n')
}

/** Of the names that the sources read, those that the data does not have. */
export function missingFrom(data: unknown, variables: string[]): Set<string> {
  return new Set(variables.filter((name) => !has(data, stepsOf(name))))
}

/** The steps of a name such as items[].price or a["odd key"]; [] is any element. */
function stepsOf(name: string): string[] {
  return [...name.matchAll(/\[\]|\["((?:[^"\\]|\\.)*)"\]|[^.[\]]+/g)].map(([all, quoted]) => quoted ?? all)
}

// An empty list says nothing about what its elements have.
function has(data: unknown, steps: string[]): boolean {
  const [step, ...rest] = steps
  if (step === undefined) return true
  if (step === '[]') return Array.isArray(data) && (data.length === 0 || data.some((each) => has(each, rest)))
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return false
  return Object.hasOwn(data, step) && has((data as Record<string, unknown>)[step], rest)
}
