// Tables from files: CSV by RFC 4180, and JSON.
//
// A CSV file is records of fields. A field in quotes may hold delimiters, line breaks and quotes,
// each quote of those written twice. Real files differ: `;` or a tab in place of the comma, LF in
// place of CRLF, a byte order mark, blank lines at the end. Nothing but the delimiter is guessed: a
// quote where none may be is a mistake with its line, not half a table.

import { parseExactly } from './json'

export interface Mistake {
  /** In the file, from 1. */
  line: number
  message: string
}

export interface CsvRecord {
  fields: string[]
  /** Where it begins, from 1: quoted line breaks make records longer than a line. */
  line: number
}

export const delimiters = { ',': 'comma', ';': 'semicolon', '\t': 'tab' } as const
export type Delimiter = keyof typeof delimiters

/** The delimiter that the first record has most of, outside quotes. */
export function delimiterOf(text: string): Delimiter {
  const counts = { ',': 0, ';': 0, '\t': 0 }
  let quoted = false
  for (const c of text) {
    if (c === '"') quoted = !quoted
    else if (!quoted && (c === '\n' || c === '\r')) break
    else if (!quoted && c in counts) counts[c as Delimiter]++
  }
  return (Object.keys(counts) as Delimiter[]).reduce((most, d) => (counts[d] > counts[most] ? d : most))
}

/** The records of a CSV file. After a mistake with quotes nothing can be told, so it is the last. */
export function parseCsv(text: string, delimiter: Delimiter): { records: CsvRecord[]; mistakes: Mistake[] } {
  const records: CsvRecord[] = []
  let i = text.startsWith('\uFEFF') ? 1 : 0
  let line = 1
  while (i < text.length) {
    const record: CsvRecord = { fields: [], line }
    for (let more = true; more; ) {
      let field = ''
      if (text[i] === '"') {
        const opened = line
        for (i++; ; ) {
          const end = text.indexOf('"', i)
          if (end < 0) return { records, mistakes: [{ line: opened, message: 'A quote is opened here and never closed.' }] }
          const part = text.slice(i, end)
          line += breaks(part)
          field += part
          i = end + 1
          if (text[i] !== '"') break
          field += '"'
          i++
        }
        if (i < text.length && text[i] !== delimiter && text[i] !== '\n' && text[i] !== '\r')
          return { records, mistakes: [{ line, message: `After a closing quote comes “${text[i]}”, where a ${delimiters[delimiter]} or the end of the line has to be. A quote within quotes is written twice.` }] }
      } else {
        const start = i
        while (i < text.length && text[i] !== delimiter && text[i] !== '\n' && text[i] !== '\r') i++
        field = text.slice(start, i)
      }
      record.fields.push(field)
      more = text[i] === delimiter
      if (more) i++
    }
    if (text[i] === '\r') i++
    if (text[i] === '\n') i++
    line++
    if (record.fields.length > 1 || record.fields[0] !== '') records.push(record) // a blank line is no record
  }
  return { records, mistakes: [] }
}

// Line breaks as editors count them: CRLF is one.
const breaks = (text: string) => text.match(/\r\n|\n|\r/g)?.length ?? 0

export interface Row {
  data: unknown
  metadata?: Record<string, unknown>
  /** Of the file, from 1; of JSON, the place in the array. */
  line: number
}

export interface Table {
  rows: Row[]
  /** The names of the first record; empty for JSON. */
  columns: string[]
  mistakes: Mistake[]
}

/** A field as a number where it is one as JSON writes them; 007, 1,5 and what has more digits than a number holds stay text. */
const number = (text: string) => (/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text) && text.replace(/\D/g, '').length <= 15 ? Number(text) : text)

// Without a prototype, so that a column may have any name.
const bare = (): Record<string, unknown> => Object.create(null)

/** The rows of a CSV file: its first record names the fields, and a.b is the field b of a. */
export function tableOfCsv(text: string, { delimiter, numbers, metadata }: { delimiter: Delimiter; numbers: boolean; metadata: ReadonlySet<string> }): Table {
  const { records, mistakes } = parseCsv(text, delimiter)
  const [header, ...rest] = records
  if (!header) return { rows: [], columns: [], mistakes: mistakes.length ? mistakes : [{ line: 1, message: 'The file is empty.' }] }
  const columns = header.fields.map((name) => name.trim())
  const paths = columns.map((name) => name.split('.'))
  columns.forEach((name, i) => {
    const at = (message: string) => mistakes.push({ line: header.line, message })
    if (!name) at(`Column ${i + 1} has no name.`)
    else if (columns.indexOf(name) < i) at(`There are two columns named “${name}”.`)
    else if (paths[i]!.some((part) => !part)) at(`The name “${name}” has a dot with nothing beside it.`)
    else if (columns.some((other) => other.startsWith(name + '.'))) at(`“${name}” cannot be a value and have fields of its own (“${columns.find((other) => other.startsWith(name + '.'))}”).`)
  })
  if (mistakes.some((m) => m.line === header.line)) return { rows: [], columns, mistakes }
  const rows: Row[] = []
  for (const { fields, line } of rest) {
    if (fields.length !== columns.length) {
      mistakes.push({ line, message: `${fields.length === 1 ? 'There is 1 field' : `There are ${fields.length} fields`}, but ${columns.length === 1 ? '1 column has a name' : `${columns.length} columns have names`}.` })
      continue
    }
    const data = bare()
    const chosen = bare()
    fields.forEach((text, i) => {
      const value = numbers ? number(text) : text
      const path = paths[i]!
      let object = data
      for (const part of path.slice(0, -1)) object = (object[part] ??= bare()) as Record<string, unknown>
      object[path.at(-1)!] = value
      if (metadata.has(columns[i]!)) chosen[columns[i]!] = value
    })
    rows.push({ data, metadata: Object.keys(chosen).length ? chosen : undefined, line })
  }
  return { rows, columns, mistakes: mistakes.sort((a, b) => a.line - b.line) }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** The rows of a JSON file: an array of data, or of {data, metadata}. */
export function tableOfJson(text: string): Table {
  const none = (message: string): Table => ({ rows: [], columns: [], mistakes: [{ line: 1, message }] })
  let value: unknown
  try {
    value = parseExactly(text.replace(/^\uFEFF/, ''))
  } catch (e) {
    const message = e instanceof Error ? e.message : String(e)
    return none(e instanceof SyntaxError ? `The file is not JSON: ${message}.` : `${message}.`)
  }
  if (!Array.isArray(value)) return none('The file has to be an array: [{…}, {…}], an object for each document.')
  if (!value.length) return none('The array is empty.')
  const mistakes: Mistake[] = []
  const rows: Row[] = []
  value.forEach((item: unknown, i) => {
    if (!isObject(item)) return mistakes.push({ line: i + 1, message: 'This is not an object.' })
    // Only these two names: data with a field named data among others is data.
    if (!('data' in item) || Object.keys(item).some((key) => key !== 'data' && key !== 'metadata')) return rows.push({ data: item, line: i + 1 })
    if (item.metadata != null && !isObject(item.metadata)) return mistakes.push({ line: i + 1, message: 'Its metadata is not an object.' })
    return rows.push({ data: item.data, metadata: isObject(item.metadata) ? item.metadata : undefined, line: i + 1 })
  })
  return { rows, columns: [], mistakes }
}

/** The text of a file's bytes. Old spreadsheets write neither UTF-8 nor say what they write. */
export function textOf(bytes: ArrayBuffer): { text: string; encoding: string } {
  const [a, b] = new Uint8Array(bytes, 0, Math.min(2, bytes.byteLength))
  const encoding = a === 0xff && b === 0xfe ? 'utf-16le' : a === 0xfe && b === 0xff ? 'utf-16be' : 'utf-8'
  try {
    return { text: new TextDecoder(encoding, { fatal: true }).decode(bytes), encoding }
  } catch {
    return { text: new TextDecoder('windows-1252').decode(bytes), encoding: 'windows-1252' }
  }
}

/** Rows in as few parts as a batch allows: so many of them, and so many bytes of a request. */
export function partsOf(rows: Row[], most: number, bytes: number): Row[][] {
  const parts: Row[][] = []
  let size = Infinity
  for (const row of rows) {
    const own = JSON.stringify(row).length * 2 // characters: at worst some bytes each
    if (size + own > bytes || parts.at(-1)!.length >= most) {
      parts.push([])
      size = 0
    }
    parts.at(-1)!.push(row)
    size += own
  }
  return parts
}
